//! A finding: a stale answer with its timeline.

use serde::{Deserialize, Serialize};

/// A tier would have answered with data older than the database.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Finding {
    /// The number of the finding, counted since the start.
    pub number: u64,
    /// The node of the tier, as `audit.peers` names it; null: this one.
    #[serde(default)]
    pub node: Option<String>,
    /// The key.
    pub key: String,
    /// Its contract.
    pub contract: String,
    /// `local` or `shared`.
    pub tier: String,
    /// The reason for the check: `invalidation`, `answer` (a sampled one) or `stored` (an entry in turn).
    pub noticed_by: String,
    /// Each T, in seconds, at which it was stale. The last one is the largest.
    pub stale_after_s: Vec<f64>,
    /// The entry's τ as the tier reports it; null: the entry had been removed when the late event arrived.
    pub tau: Option<String>,
    /// The load time that the entry records, in ms since 1970.
    pub loaded_ms: Option<u64>,
    /// The position that the tier had applied.
    pub applied: Option<String>,
    /// The event that should have removed it.
    pub event: Option<FindingEvent>,
    /// The time for which the entry is known to have been older than the database, in ms.
    pub behind_ms: f64,
    /// The staleness bound that an answer would have shown, in ms; null: none.
    pub bound_ms: Option<f64>,
    /// The contract's budget, in ms.
    pub budget_ms: f64,
    /// Whether it was served as fresh although it was older than the contract allows.
    pub beyond_contract: bool,
    /// Whether its bound was smaller than its staleness.
    pub bound_broken: bool,
    /// Whether it is still served after [`STICKY_AFTER`](super::STICKY_AFTER); null: that time has not
    /// passed.
    pub sticky: Option<bool>,
    /// The fields of the value that differ from the database; empty where the value is no JSON object, or is
    /// another node's.
    #[serde(default)]
    pub fields: Vec<String>,
    /// The rule that should have removed it, with an explanation.
    pub rule: String,
    /// The loads, fills and events of this key in this node, oldest first.
    #[serde(rename = "story")]
    pub timeline: Vec<TimelineEntry>,
    /// The time of the finding, in ms since 1970.
    pub found_ms: u64,
}

/// The event behind a finding.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct FindingEvent {
    /// The commit's end position.
    pub position: String,
    /// `commit`, `application` or `purge`.
    pub cause: String,
    /// The commit time by the database's clock, in µs since 1970.
    pub committed_us: u64,
}

/// One entry of a timeline.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct TimelineEntry {
    /// The time, in ms since 1970.
    pub at_ms: u64,
    /// The description.
    #[serde(rename = "what")]
    pub text: String,
}

impl Finding {
    /// Whether a guarantee was violated: that of the contract, or that of the bound.
    #[must_use]
    pub fn violates_guarantee(&self) -> bool {
        self.beyond_contract || self.bound_broken
    }
}
