//! What the auditor publishes.

use serde::{Deserialize, Serialize};

use super::finding::Finding;
use super::interval::failure_bound;

/// Everything found since the start.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Report {
    /// C(T), per T.
    pub after: Vec<After>,
    /// Answers that clients got.
    pub samples: Sampled,
    /// Stale findings that were still there after 60 s.
    pub sticky: u64,
    /// Invalidations that met a copy: what C(T) could be about.
    pub met: u64,
    /// Of those, not checked because the budget of reads was used up, or too much was under way.
    pub paced: u64,
    /// Looks that came too late to say anything about their T.
    pub late: u64,
    /// Looks that failed because the database or the shared tier did not answer.
    pub unread: u64,
    /// Differences that could not be shown to be staleness: the entry was replaced meanwhile.
    pub undecided: u64,
    /// Notes of the engine that were lost because the auditor was busy.
    pub dropped: u64,
    /// The other nodes.
    #[serde(default)]
    pub peers: Vec<Peer>,
    /// The last findings, oldest first.
    pub findings: Vec<Finding>,
    /// Findings since the start that broke a promise.
    pub broken: u64,
    /// Findings since the start.
    pub found: u64,
}

/// C(T): the share of invalidations (a commit and a key whose copy it met) after which no tier was
/// older, T after the commit.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct After {
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
    /// This process's tier.
    pub local: TierCount,
    /// The shared tier.
    pub shared: TierCount,
}

/// The looks at one tier.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct TierCount {
    /// Looks.
    pub checks: u64,
    /// Looks at which the tier had something that it would have answered; the others can't be
    /// stale.
    pub answering: u64,
    /// Looks that found something stale.
    pub stale: u64,
}

/// Answers compared with the origin.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Sampled {
    /// Compared.
    pub compared: u64,
    /// The database says the same.
    pub agreed: u64,
    /// The database says something else, and a second later the tier still says the same.
    pub stale: u64,
}

/// Another node, as this one's auditor sees it.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Peer {
    /// Its name: host and port in `audit.peers`.
    pub node: String,
    /// What came of asking it.
    pub asked: Asked,
    /// C(T) of its tiers, per T, over the same invalidations as this node's own.
    pub after: Vec<After>,
    /// What its tiers would have answered when a sampled answer was compared.
    pub samples: Sampled,
}

/// Questions to a node, by what came of them.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Asked {
    /// It answered.
    pub answered: u64,
    /// It did not, in time.
    pub unreachable: u64,
    /// What it said made no sense, or was about another key: its contracts differ.
    pub rubbish: u64,
    /// It was not asked, because lately it did not answer.
    pub resting: u64,
}

impl Peer {
    fn since(&self, before: &Self) -> Self {
        let newer = |now: u64, before: u64| now.saturating_sub(before);
        let (now, then) = (self.asked, before.asked);
        Self {
            node: self.node.clone(),
            asked: Asked {
                answered: newer(now.answered, then.answered),
                unreachable: newer(now.unreachable, then.unreachable),
                rubbish: newer(now.rubbish, then.rubbish),
                resting: newer(now.resting, then.resting),
            },
            after: self.after.iter().zip(&before.after).map(|(a, b)| a.since(b)).collect(),
            samples: self.samples.since(before.samples),
        }
    }
}

impl Sampled {
    fn since(self, before: Self) -> Self {
        Self {
            compared: self.compared.saturating_sub(before.compared),
            agreed: self.agreed.saturating_sub(before.agreed),
            stale: self.stale.saturating_sub(before.stale),
        }
    }
}

impl After {
    /// With the shares filled in.
    #[must_use]
    pub fn with_shares(mut self) -> Self {
        let share = (self.checked - self.stale.min(self.checked)) as f64 / self.checked as f64;
        self.consistent = (self.checked > 0).then_some(share);
        self.at_least = 1.0 - failure_bound(self.stale, self.checked);
        self
    }

    /// What has been added since `before`.
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

impl TierCount {
    fn since(self, before: Self) -> Self {
        Self {
            checks: self.checks.saturating_sub(before.checks),
            answering: self.answering.saturating_sub(before.answering),
            stale: self.stale.saturating_sub(before.stale),
        }
    }
}

impl Report {
    /// What has been added since `before`, an earlier report of the same process.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let newer = |now: u64, before: u64| now.saturating_sub(before);
        let after = self.after.iter().zip(&before.after);
        Self {
            after: after.map(|(now, before)| now.since(before)).collect(),
            samples: self.samples.since(before.samples),
            sticky: newer(self.sticky, before.sticky),
            met: newer(self.met, before.met),
            paced: newer(self.paced, before.paced),
            late: newer(self.late, before.late),
            unread: newer(self.unread, before.unread),
            undecided: newer(self.undecided, before.undecided),
            dropped: newer(self.dropped, before.dropped),
            peers: self.peers.iter().zip(&before.peers).map(|(a, b)| a.since(b)).collect(),
            findings: self
                .findings
                .iter()
                .filter(|finding| finding.number > before.found)
                .cloned()
                .collect(),
            broken: newer(self.broken, before.broken),
            found: newer(self.found, before.found),
        }
    }
}
