//! A stale answer, with its story.

use serde::{Deserialize, Serialize};

/// A tier would have answered something older than the database.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Finding {
    /// Counts findings since the start.
    pub number: u64,
    /// The node whose tier it is, as `audit.peers` names it; null: this one.
    #[serde(default)]
    pub node: Option<String>,
    /// The key.
    pub key: String,
    /// Its contract.
    pub contract: String,
    /// `local` or `shared`.
    pub tier: String,
    /// Why it was looked at: `invalidation` or `answer` (a sampled one).
    pub noticed_by: String,
    /// The T, in seconds, at which it was stale. The last one is the largest.
    pub stale_after_s: Vec<f64>,
    /// The entry's τ as the tier tells it; null: the entry was gone when the event came, late.
    pub tau: Option<String>,
    /// When the entry was loaded by its own account, ms since 1970.
    pub loaded_ms: Option<u64>,
    /// What the tier had applied.
    pub applied: Option<String>,
    /// The event that should have made an end of it.
    pub event: Option<Cause>,
    /// For how long the entry is known to have been older than the database, in ms.
    pub behind_ms: f64,
    /// The staleness bound that an answer would have shown; null: none.
    pub bound_ms: Option<f64>,
    /// The contract's budget.
    pub budget_ms: f64,
    /// Readers were given it as fresh although it was older than the contract allows.
    pub beyond_contract: bool,
    /// Its bound was smaller than its staleness.
    pub bound_broken: bool,
    /// Still there after [`STICKY`](super::STICKY); null: it is not so late yet.
    pub sticky: Option<bool>,
    /// Which rule should have removed it, and what that says.
    pub rule: String,
    /// What was stored and applied for this key in this node, oldest first.
    pub story: Vec<Moment>,
    /// When it was found, ms since 1970.
    pub found_ms: u64,
}

/// The event behind a finding.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Cause {
    /// The commit's end position.
    pub position: String,
    /// `commit`, `application` or `purge`.
    pub cause: String,
    /// When the database says it was committed, µs since 1970.
    pub committed_us: u64,
}

/// One line of a story.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Moment {
    /// When, ms since 1970.
    pub at_ms: u64,
    /// What.
    pub what: String,
}

impl Finding {
    /// Whether a promise was broken: the contract's, or the bound's.
    #[must_use]
    pub fn breaks_a_promise(&self) -> bool {
        self.beyond_contract || self.bound_broken
    }
}
