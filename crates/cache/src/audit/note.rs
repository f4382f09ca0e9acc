//! What the engine tells its witness: the flight recorder's raw material.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use coherence::{Cause, Lsn, Subject, Verdict};
use contract::Key;

use crate::engine::Tier;
use crate::entry::Content;

/// Somebody who is told what the engine does.
///
/// Called where misses, fills and invalidations are handled: it must not block, and what it does
/// with a note is its own affair.
pub trait Witness: Send + Sync + 'static {
    /// This has just happened.
    fn note(&self, note: Note);
}

/// A key, and how to ask its origin for it.
#[derive(Clone, Debug)]
pub struct Named {
    /// The key.
    pub key: Key,
    /// What the caller named.
    pub id: Arc<str>,
    /// The name of its contract.
    pub contract: Arc<str>,
}

/// What has happened.
#[derive(Clone, Debug)]
pub enum Note {
    /// A load from the origin begins.
    Load(Named),
    /// A value was offered to a tier.
    Fill(Filled),
    /// An event of the log has been applied to this node's own tier.
    Event(Felled),
    /// An answer was given to a client, and chosen for comparison.
    Answer(Answered),
}

/// A value that was offered to a tier.
#[derive(Clone, Debug)]
pub struct Filled {
    /// Under which key.
    pub named: Named,
    /// To which tier.
    pub tier: Tier,
    /// Where the value came from: the origin, or the shared tier.
    pub from: Tier,
    /// Its τ.
    pub tau: Lsn,
    /// When it was loaded, wall time in ms since 1970.
    pub loaded_wall_ms: u64,
    /// How long it may live.
    pub ttl: Duration,
    /// What the tier said.
    pub verdict: Verdict,
}

/// An event, and what it met in this node.
#[derive(Clone, Debug)]
pub struct Felled {
    /// The commit's end position.
    pub lsn: Lsn,
    /// Why.
    pub cause: Cause,
    /// When the database says that it committed, µs since 1970.
    pub committed_us: u64,
    /// What it is about; cut at [`MOST_KEYS`].
    pub subjects: Vec<Subject>,
    /// Keys whose copy in the in-process tier it removed; cut at [`MOST_KEYS`].
    pub felled: Vec<Key>,
    /// Keys it names that were being loaded; cut at [`MOST_KEYS`].
    pub loading: Vec<Key>,
}

/// How many keys of one event are told.
pub const MOST_KEYS: usize = 64;

/// An answer that a client got.
#[derive(Clone, Debug)]
pub struct Answered {
    /// For which key.
    pub named: Named,
    /// What it said.
    pub content: Content,
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.key, self.contract)
    }
}
