//! The events that the engine reports to an observer: the raw material of the auditor's flight recorder.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use coherence::{Cause, Lsn, Subject, Verdict};
use contract::Key;

use super::answer::Tier;
use crate::entry::Content;

/// Receives the engine's events.
///
/// Called where misses, fills and invalidations are handled, so it must not block.
pub trait EngineObserver: Send + Sync + 'static {
    /// Receives an event that has just happened.
    fn observe(&self, event: EngineEvent);
}

/// A key with the arguments that load it from its origin.
#[derive(Clone, Debug)]
pub struct LoadTarget {
    /// The key.
    pub key: Key,
    /// The id that the caller gave.
    pub id: Arc<str>,
    /// The name of the contract.
    pub contract: Arc<str>,
}

/// An event of the engine.
#[derive(Clone, Debug)]
pub enum EngineEvent {
    /// A load from the origin starts.
    Load(LoadTarget),
    /// A value was offered to a tier.
    Fill(FillRecord),
    /// An event of the log has been applied to this node's in-process tier.
    Invalidation(InvalidationRecord),
    /// An answer was sent to a client and chosen for comparison.
    Answer(AnswerRecord),
}

/// A value that was offered to a tier.
#[derive(Clone, Debug)]
pub struct FillRecord {
    /// The key and its origin's arguments.
    pub target: LoadTarget,
    /// The tier that was offered the value.
    pub tier: Tier,
    /// The source of the value: the origin, or the shared tier.
    pub from: Tier,
    /// Its τ.
    pub tau: Lsn,
    /// The wall time of its load, in ms since 1970.
    pub loaded_wall_ms: u64,
    /// Its TTL.
    pub ttl: Duration,
    /// Whether the tier stored it.
    pub verdict: Verdict,
}

/// An event of the log, with the copies and loads of this node that it invalidated.
#[derive(Clone, Debug)]
pub struct InvalidationRecord {
    /// The commit's end position.
    pub lsn: Lsn,
    /// The cause of the event.
    pub cause: Cause,
    /// The commit time by the database's clock, in µs since 1970.
    pub committed_us: u64,
    /// The subjects of the event; the first [`MAX_KEYS_PER_EVENT`].
    pub subjects: Vec<Subject>,
    /// Keys whose copy in the in-process tier it removed; the first [`MAX_KEYS_PER_EVENT`].
    pub invalidated: Vec<Key>,
    /// Keys it names that were being loaded; the first [`MAX_KEYS_PER_EVENT`].
    pub loading: Vec<Key>,
}

/// The maximum number of keys of one event that are reported.
pub const MAX_KEYS_PER_EVENT: usize = 64;

/// An answer that was sent to a client.
#[derive(Clone, Debug)]
pub struct AnswerRecord {
    /// The key and its origin's arguments.
    pub target: LoadTarget,
    /// The content of the answer.
    pub content: Content,
}

impl fmt::Display for LoadTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.key, self.contract)
    }
}
