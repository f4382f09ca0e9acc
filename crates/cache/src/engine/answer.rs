//! What a reader gets: a value and its proof, or the reason why there is none.

use std::sync::Arc;
use std::time::Duration;

use coherence::{Lsn, Mono, Verdict};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::local::Held;
use crate::origin::{OriginError, OriginErrorKind};

/// A value with its proof.
#[derive(Clone, Debug)]
pub struct Answer {
    /// What was found. `Content::Uncacheable` holds no data: the origin that the caller gave has
    /// been asked on behalf of this caller alone and keeps what it got (see [`Engine::get`]).
    ///
    /// [`Engine::get`]: super::Engine::get
    pub entry: Arc<Held>,
    pub(super) tier: Tier,
    /// When it was given.
    pub(super) now: Mono,
    /// What its tier has proven; [`Held::as_of`] says what that means for the entry.
    pub(super) proven: Option<Mono>,
    pub(super) stale: Option<Stale>,
    pub(super) collapsed: bool,
    pub(super) stored: Option<Verdict>,
}

impl Answer {
    /// How fresh it is, and who says so. The contract is the policy that the caller gave.
    ///
    /// Worked out when it is asked for: an in-process hit is too short to pay for what nobody
    /// reads.
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

/// An answer that nothing proves, and that nobody can open: it is made to be timed and dropped.
#[doc(hidden)]
#[derive(Debug)]
pub struct Sealed(#[expect(dead_code, reason = "nobody can open it")] pub(super) Answer);

/// What is known about an answer's freshness.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Proof {
    /// Who answered.
    pub tier: Tier,
    /// Time since the value was loaded (wall time between machines; says nothing about freshness).
    pub age: Duration,
    /// Every change committed longer ago than this is in the answer. `None`: nothing is proven.
    pub bound: Option<Duration>,
    /// τ: every relevant commit up to here is in the answer.
    pub version: Lsn,
    /// Why it was served although it is not proven to be within its contract, if so.
    pub stale: Option<Stale>,
    /// Whether a commit has made it old and the contract spends some of its budget, because the
    /// origin is hard pressed or failed. The bound is true and within the budget.
    pub soft: bool,
    /// Whether somebody else's load answered.
    pub collapsed: bool,
    /// Whether a tier kept what was loaded; `None`: nothing was loaded, or no tier was asked.
    pub stored: Option<Verdict>,
}

/// Who answered.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// This process.
    Local,
    /// The tier that all nodes share.
    Shared,
    /// The origin.
    Origin,
}

impl Tier {
    /// The name used in metrics, headers and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Shared => "shared",
            Self::Origin => "origin",
        }
    }
}

/// Why an answer was served that is not proven to be within its contract. Never from an entry that
/// a commit has invalidated: such an entry is gone, or served as [soft](Proof::soft) within its
/// contract.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Stale {
    /// The bound is past the budget, and the contract says `serve-stale`; or a service has just
    /// answered with something older than the budget, and the contract does not say `fail`.
    Unproven,
    /// It has outlived its TTL, and a load that renews it is under way (RFC 5861
    /// `stale-while-revalidate`).
    Revalidating,
    /// The origin failed or was not asked, and the contract says `serve-stale`.
    OriginFailed,
}

impl Stale {
    /// The name used in metrics, headers and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unproven => "unproven",
            Self::Revalidating => "revalidating",
            Self::OriginFailed => "origin-failed",
        }
    }
}

/// There is no answer.
#[derive(Clone, Debug, Error)]
pub enum ReadError {
    /// Freshness can't be proven, and the contract says `fail`.
    #[error("freshness can't be proven: the bound is {bound:?}, the contract allows {budget:?}")]
    Unproven {
        /// What is proven; `None`: nothing.
        bound: Option<Duration>,
        /// What the contract allows.
        budget: Duration,
    },
    /// The origin was asked and failed.
    #[error(transparent)]
    Origin(#[from] OriginError),
    /// The origin was not asked, to keep it standing: too much is under way for this priority, or
    /// its breaker is open.
    #[error("the origin is spared: {reason}")]
    Overloaded {
        /// `limit`, `breaker` or `retries`.
        reason: &'static str,
        /// When to ask again.
        retry_after: Duration,
    },
    /// Somebody else's load took longer than this caller may wait.
    #[error("waited {0:?} for a load that is under way")]
    Waited(Duration),
    /// The items of a read-atomic batch can't be read from one snapshot.
    #[error("these are loaded from origins that have no common snapshot")]
    Apart,
    /// The load ended without a result (a panic in the origin's code).
    #[error("the load broke off without a result")]
    Aborted,
}

impl ReadError {
    /// The name used in metrics and logs.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Unproven { .. } => "unproven",
            Self::Origin(err) => err.kind.as_str(),
            Self::Overloaded { reason, .. } => reason,
            Self::Waited(_) => "waited",
            Self::Apart => "apart",
            Self::Aborted => "aborted",
        }
    }

    /// After how long another try may help; `None`: it won't.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        const SOON: Duration = Duration::from_secs(1);
        match self {
            Self::Overloaded { retry_after, .. } => Some(*retry_after),
            Self::Origin(err) => match err.kind {
                OriginErrorKind::BadRequest | OriginErrorKind::Broken => None,
                OriginErrorKind::Unavailable
                | OriginErrorKind::Timeout
                | OriginErrorKind::Refused => Some(SOON),
            },
            Self::Unproven { .. } | Self::Waited(_) => Some(SOON),
            Self::Apart | Self::Aborted => None,
        }
    }
}
