//! The auditor's report.

use std::collections::BTreeMap;

use contract::RefusalReport;
use serde::{Deserialize, Serialize};

use super::finding::Finding;
use super::interval::failure_bound;
use super::pages::PageAuditReport;

/// All counts and the last findings since the start.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct AuditReport {
    /// C(T), per T.
    #[serde(rename = "after")]
    pub consistency: Vec<Consistency>,
    /// ServedAs that clients got.
    pub samples: SampleCounts,
    /// Stored entries, compared in turn.
    #[serde(default)]
    pub stored: SampleCounts,
    /// Stale entries that were still served after 60 s.
    pub sticky: u64,
    /// Invalidations of a copy: the candidates for C(T).
    pub met: u64,
    /// Of those, not checked because the budget of reads was used up, or too many checks were in progress.
    pub paced: u64,
    /// Checks that came too late to count for their T.
    pub late: u64,
    /// Checks that failed because the database or the shared tier did not answer.
    pub unread: u64,
    /// Differences that could not be shown to be staleness: the entry was replaced before the second check.
    pub undecided: u64,
    /// Events of the engine that were lost because the auditor was busy.
    pub dropped: u64,
    /// The other nodes.
    #[serde(default)]
    pub peers: Vec<PeerReport>,
    /// The pages of the gateway.
    #[serde(default)]
    pub pages: PageAuditReport,
    /// Values in Redis that were not used because of their signature.
    #[serde(default)]
    pub refused_values: RefusalReport,
    /// Messages in the log that were not applied because of their signature.
    #[serde(default)]
    pub refused_messages: RefusalReport,
    /// The last findings, oldest first.
    pub findings: Vec<Finding>,
    /// Findings since the start that violate a guarantee.
    pub broken: u64,
    /// Findings since the start.
    pub found: u64,
    /// The reports of the other sources by name, where a node has several.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sources: BTreeMap<String, AuditReport>,
}

/// C(T): the share of invalidations (a commit and a key whose copy it invalidated) after which no tier was
/// older, T after the commit.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Consistency {
    /// T.
    pub seconds: f64,
    /// Invalidations checked.
    pub checked: u64,
    /// Of those, after which some tier was older.
    pub stale: u64,
    /// C(T); null without checks.
    pub consistent: Option<f64>,
    /// C(T) is at least this, with 95 % confidence (Clopper–Pearson, one-sided).
    pub at_least: f64,
    /// The in-process tier.
    pub local: TierCounts,
    /// The shared tier.
    pub shared: TierCounts,
}

/// The checks of one tier.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct TierCounts {
    /// Checks.
    pub checks: u64,
    /// Checks at which the tier would have answered; the others can't be stale.
    pub answering: u64,
    /// Checks that found a stale entry.
    pub stale: u64,
}

/// ServedAs compared with the origin.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct SampleCounts {
    /// Compared.
    pub compared: u64,
    /// The database agrees.
    pub agreed: u64,
    /// The database differs, and a second later the tier still has the same content.
    pub stale: u64,
}

/// The results of one other node.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct PeerReport {
    /// Its name: host and port in `audit.peers`.
    pub node: String,
    /// The outcomes of requests to it.
    #[serde(rename = "asked")]
    pub requests: PeerRequests,
    /// C(T) of its tiers, per T, over the same invalidations as this node's own.
    #[serde(rename = "after")]
    pub consistency: Vec<Consistency>,
    /// The comparisons of its tiers with sampled answers.
    pub samples: SampleCounts,
}

/// Requests to a node by outcome.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct PeerRequests {
    /// It answered.
    pub answered: u64,
    /// It did not answer in time.
    pub unreachable: u64,
    /// Its reply was malformed, or about another key: its contracts differ.
    #[serde(rename = "rubbish")]
    pub malformed: u64,
    /// It was not asked, because its last requests failed.
    #[serde(rename = "resting")]
    pub skipped: u64,
}

impl PeerReport {
    fn since(&self, before: &Self) -> Self {
        let newer = |now: u64, before: u64| now.saturating_sub(before);
        let (now, then) = (self.requests, before.requests);
        Self {
            node: self.node.clone(),
            requests: PeerRequests {
                answered: newer(now.answered, then.answered),
                unreachable: newer(now.unreachable, then.unreachable),
                malformed: newer(now.malformed, then.malformed),
                skipped: newer(now.skipped, then.skipped),
            },
            consistency: self
                .consistency
                .iter()
                .zip(&before.consistency)
                .map(|(a, b)| a.since(b))
                .collect(),
            samples: self.samples.since(before.samples),
        }
    }
}

impl SampleCounts {
    fn since(self, before: Self) -> Self {
        Self {
            compared: self.compared.saturating_sub(before.compared),
            agreed: self.agreed.saturating_sub(before.agreed),
            stale: self.stale.saturating_sub(before.stale),
        }
    }
}

impl Consistency {
    /// Computes the shares.
    #[must_use]
    pub fn with_shares(mut self) -> Self {
        let share = (self.checked - self.stale.min(self.checked)) as f64 / self.checked as f64;
        self.consistent = (self.checked > 0).then_some(share);
        self.at_least = 1.0 - failure_bound(self.stale, self.checked);
        self
    }

    /// Returns the counts added since `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        Self {
            seconds: self.seconds,
            checked: self.checked.saturating_sub(before.checked),
            stale: self.stale.saturating_sub(before.stale),
            consistent: None,
            at_least: 0.0,
            local: self.local.since(before.local),
            shared: self.shared.since(before.shared),
        }
        .with_shares()
    }
}

impl TierCounts {
    fn since(self, before: Self) -> Self {
        Self {
            checks: self.checks.saturating_sub(before.checks),
            answering: self.answering.saturating_sub(before.answering),
            stale: self.stale.saturating_sub(before.stale),
        }
    }
}

impl AuditReport {
    /// Returns the counts added since `before`, an earlier report of the same process.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let newer = |now: u64, before: u64| now.saturating_sub(before);
        let consistency = self.consistency.iter().zip(&before.consistency);
        Self {
            consistency: consistency.map(|(now, before)| now.since(before)).collect(),
            samples: self.samples.since(before.samples),
            stored: self.stored.since(before.stored),
            sticky: newer(self.sticky, before.sticky),
            met: newer(self.met, before.met),
            paced: newer(self.paced, before.paced),
            late: newer(self.late, before.late),
            unread: newer(self.unread, before.unread),
            undecided: newer(self.undecided, before.undecided),
            dropped: newer(self.dropped, before.dropped),
            peers: self.peers.iter().zip(&before.peers).map(|(a, b)| a.since(b)).collect(),
            pages: self.pages.since(&before.pages),
            refused_values: self.refused_values.since(&before.refused_values),
            refused_messages: self.refused_messages.since(&before.refused_messages),
            findings: self
                .findings
                .iter()
                .filter(|finding| finding.number > before.found)
                .cloned()
                .collect(),
            broken: newer(self.broken, before.broken),
            found: newer(self.found, before.found),
            sources: self
                .sources
                .iter()
                .map(|(name, now)| match before.sources.get(name) {
                    Some(before) => (name.clone(), now.since(before)),
                    None => (name.clone(), now.clone()),
                })
                .collect(),
        }
    }

    /// Returns the findings since the start, of all sources and of pages, that violate a guarantee.
    #[must_use]
    pub fn all_broken(&self) -> u64 {
        self.broken + self.pages.broken + self.sources.values().map(Self::all_broken).sum::<u64>()
    }
}
