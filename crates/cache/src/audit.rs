//! The auditor's rules: which invalidations are checked when, what counts as stale, and why.
//!
//! The tiers' own machinery says that an answer is fresh; the auditor asks the database. For each
//! commit that met a copy (cached or being loaded) it looks, [`AFTER`] the commit, at what every
//! tier of this node would answer, and compares it with what the contract's own statement answers
//! now. Of the answers that clients got, a sample is compared in the same way.
//!
//! **A difference is not yet staleness:** the row may have changed again a moment ago. An answer is
//! *stale at T* only if it is shown to have been older than the database for T: either its τ lies
//! below the commit, or the same entry still differs from the database T after it was first seen
//! to differ. What can't be decided is counted as undecided, not as right.
//!
//! **Other nodes** are asked the same at the same moment, and judged by the same database. Two nodes
//! may rightly differ within the bounds that they show; that counts in C(T), and is a finding only
//! where an answer is older than its bound, or than its contract, allows.
//!
//! Everything here is pure: time comes in as an argument, and looking is done by who calls.

mod auditor;
mod case;
mod finding;
mod interval;
mod note;
mod place;
mod recorder;
mod report;
mod seen;
mod verdict;

pub use auditor::{Auditor, Look, Options, Question, Step};
pub use finding::{Finding, Moment};
pub use interval::failure_bound;
pub use note::{Answered, Felled, Filled, MOST_KEYS, Named, Note, Witness};
pub use report::{After, Asked, Peer, Report, Sampled, TierCount};
pub use seen::{Digest, Held, PeerLook, Told};

use std::time::Duration;

/// When after a commit the tiers are looked at: the T of C(T).
pub const AFTER: [Duration; 3] =
    [Duration::from_millis(100), Duration::from_secs(1), Duration::from_secs(10)];

/// A stale answer that is still there so long after is called sticky.
pub const STICKY: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
