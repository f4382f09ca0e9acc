//! The auditor's rules: when an invalidation is checked, which answers count as stale, and why.
//!
//! The tiers' own machinery claims that an answer is fresh; the auditor compares it with the database.
//! For each commit that invalidated a copy (cached or being loaded), it inspects, [`CHECK_DELAYS`] after
//! the commit, how every tier of this node would answer, and compares that with the result of the
//! contract's own statement. Of the answers sent to clients, a sample is compared in the same way, and while
//! there is time, the stored entries one after the other: a change that no contract watches has no event.
//! The whole value is compared, whichever columns the contract watches.
//!
//! **A difference is not yet staleness:** the row may have changed again just now. An answer is *stale at
//! T* only if it is shown to have been older than the database for T: either its τ lies below the commit,
//! or the same entry still differs from the database T after the first difference. A difference that
//! can't be decided is counted as undecided, not as consistent.
//!
//! **Other nodes** are asked the same at the same time, and judged by the same database. Two nodes may differ
//! within the bounds that they show; that counts in C(T), and is a finding only where an answer is older than
//! its bound, or than its contract, allows.
//!
//! Everything here is pure: time comes in as an argument, and the caller does the reading.

mod auditor;
mod case;
mod finding;
mod interval;
mod node_tier;
mod pages;
mod peer_reply;
mod recorder;
mod report;
mod schedule;
mod verdict;

pub use self::auditor::{Auditor, AuditorOptions, AuditorStep, Check, Observation};
pub use self::finding::{Finding, FindingEvent, TimelineEntry};
pub use self::interval::failure_bound;
pub use self::pages::{PageAuditReport, PageFinding};
pub use self::peer_reply::{Digest, EntrySummary, PeerOutcome, PeerReply};
pub use self::report::{
    AuditReport, Consistency, PeerReport, PeerRequests, SampleCounts, TierCounts,
};
pub use self::schedule::{CHECK_DELAYS, STICKY_AFTER};
pub use crate::engine::observer::{
    AnswerRecord, EngineEvent, EngineObserver, FillRecord, InvalidationRecord, LoadTarget,
    MAX_KEYS_PER_EVENT,
};

#[cfg(test)]
mod tests;
