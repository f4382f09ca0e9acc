//! The answer of a read, with its proof.

use std::time::Duration;

use coherence::{Lsn, Mono, Verdict};
use serde::{Deserialize, Serialize};

use crate::local::LocalEntry;
use crate::partial::PartialBody;

/// A value with its proof.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The entry. `Content::Uncacheable` carries no data: the caller's own origin has been called for this
    /// caller alone and keeps its response (see [`Engine::get`]).
    ///
    /// [`Engine::get`]: super::Engine::get
    pub entry: LocalEntry,
    pub(super) tier: Tier,
    /// The time of the answer.
    pub(super) now: Mono,
    /// The time as of which its tier is proven; [`LocalEntry::as_of`] applies it to the entry.
    pub(super) proven: Option<Mono>,
    pub(super) stale: Option<Stale>,
    pub(super) collapsed: bool,
    pub(super) stored: Option<Verdict>,
    /// The body of the entry's value, which is still to come. Only for a reader whose origin
    /// [takes it early](crate::Origin::takes_early); `None`: the entry is complete.
    pub body: Option<PartialBody>,
}

impl Answer {
    /// Creates an answer from the in-process tier.
    #[inline]
    pub(super) fn local(
        entry: LocalEntry,
        proven: Option<Mono>,
        now: Mono,
        stale: Option<Stale>,
    ) -> Self {
        let (tier, collapsed, stored, body) = (Tier::Local, false, None, None);
        Self { entry, tier, now, proven, stale, collapsed, stored, body }
    }

    /// Returns the proof of the answer's freshness. The contract is the policy that the caller gave.
    ///
    /// Computed on demand: an in-process hit is too short to pay for a proof that is not read.
    #[must_use]
    pub fn proof(&self) -> Proof {
        let as_of = self.entry.as_of(self.proven);
        Proof {
            tier: self.tier,
            age: self.now.since(self.entry.loaded),
            bound: as_of.map(|as_of| self.now.since(as_of)),
            version: self.entry.tau,
            stale: self.stale,
            soft: self.entry.is_soft(),
            collapsed: self.collapsed,
            stored: self.stored,
        }
    }
}

/// The proof of an answer's freshness.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Proof {
    /// The tier that answered.
    pub tier: Tier,
    /// Time since the value was loaded (wall time between machines; proves nothing about freshness).
    pub age: Duration,
    /// Every change committed longer ago than this is in the answer. `None`: nothing is proven.
    pub bound: Option<Duration>,
    /// τ: every relevant commit at or before this position is in the answer.
    pub version: Lsn,
    /// The reason for an answer that is not proven to be within its contract.
    pub stale: Option<Stale>,
    /// Whether the entry is soft-stale: a commit has invalidated it, and the contract spends some of its
    /// budget because the origin is under pressure or failed. The bound is true and within the budget.
    pub soft: bool,
    /// Whether the load of another reader answered.
    pub collapsed: bool,
    /// Whether a tier stored the loaded value; `None`: nothing was loaded, or no tier was offered it.
    pub stored: Option<Verdict>,
}

/// The tier that gave an answer.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// The in-process tier.
    Local,
    /// The tier that all nodes share.
    Shared,
    /// The origin.
    Origin,
}

impl Tier {
    /// Returns the name used in metrics, headers and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Shared => "shared",
            Self::Origin => "origin",
        }
    }
}

/// The reason for serving an answer that is not proven to be within its contract. Never from an entry that
/// a commit has invalidated: such an entry is removed, or served as [soft-stale](Proof::soft) within its
/// contract.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Stale {
    /// The bound is past the budget, and the contract says `serve-stale`; or a service has just answered
    /// with data older than the budget, and the contract does not say `fail`.
    Unproven,
    /// The TTL has passed, and a load that renews the entry is in progress (RFC 5861
    /// `stale-while-revalidate`).
    Revalidating,
    /// The load failed or was not admitted, and the contract says `serve-stale`.
    OriginFailed,
}

impl Stale {
    /// Returns the name used in metrics, headers and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unproven => "unproven",
            Self::Revalidating => "revalidating",
            Self::OriginFailed => "origin-failed",
        }
    }
}
