//! Loads from a standby: what its answer is worth, and whether it will do.
//!
//! A standby shows what it has replayed, which is older than what the primary shows; W, which is about
//! the primary's snapshots, says nothing about a standby's. What does is the position that the standby
//! has replayed *before* the statement that reads begins: it makes a commit visible first and moves that
//! position afterwards. So the position is the answer's τ, and with the samples of the primary's log end
//! it is the answer's [bound](crate::bound), as if the standby were a tier that has applied so much.

use contract::{Key, Tag};

use crate::after::{After, Reached};
use crate::bound::Bound;
use crate::clock::Mono;
use crate::fence::Fence;
use crate::position::{Epoch, Log, Lsn};
use crate::rules::{Rule, on};

/// How far a standby said that it was, in a statement that ended before the one that read began.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Replayed {
    /// The log that it follows; which start of the primary wrote it does not matter.
    pub log: Log,
    /// Every commit up to here is visible to its later snapshots.
    pub upto: Lsn,
}

/// What a reader needs of an answer.
#[derive(Clone, Copy, Debug)]
pub struct Need<'a> {
    /// Under which key.
    pub key: &'a Key,
    /// What is known of its tags.
    pub tags: &'a [Tag],
    /// The history that the load belongs to, as it was known before the load.
    pub epoch: Epoch,
    /// For somebody who has written.
    pub after: Option<After>,
    /// Every commit acknowledged before this has to be in the answer.
    pub since: Mono,
}

/// Why a standby's answer will not do, so that the primary has to be asked.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Unfit {
    /// The standby follows another log, so its position means nothing here.
    Log,
    /// It has not replayed what the reader has written.
    Token,
    /// A commit is known here that the answer misses.
    Overtaken,
    /// It can't be shown that the answer is within its contract.
    Bound,
}

impl Unfit {
    /// The name used in metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Log => "other-log",
            Self::Token => "token",
            Self::Overtaken => "overtaken",
            Self::Bound => "behind",
        }
    }
}

impl Replayed {
    /// τ of what was read. `watermark`: W as it was known before the load, which is τ of a load from
    /// the primary and must never be paired with a standby.
    #[must_use]
    pub fn token(self, watermark: Lsn) -> Lsn {
        if on(Rule::StandbyOwnToken) { self.upto } else { watermark }
    }

    /// Whether positions of this standby mean the same as those of a tier of history `epoch`.
    #[must_use]
    pub fn is_of(self, epoch: Epoch) -> bool {
        self.log.lineage() == epoch.log().lineage() || !on(Rule::StandbySameLog)
    }

    /// The time as of which an answer is proven that reaches so far in the log of `epoch`.
    #[must_use]
    pub fn proven(self, epoch: Epoch, bound: &Bound) -> Option<Mono> {
        bound.proven_of(epoch.log().lineage(), self.upto)
    }

    /// Whether the answer will do: since when it is proven, by the samples in `bound`. `fence` is the
    /// asking node's own tier: what that has seen invalidated is not answered.
    ///
    /// # Errors
    /// [`Unfit`]: the primary has to be asked.
    pub fn serves(self, need: Need<'_>, fence: &Fence, bound: &Bound) -> Result<Mono, Unfit> {
        if !self.is_of(need.epoch) {
            return Err(Unfit::Log);
        }
        let reached = |after: After| after.reached(Some(need.epoch), self.upto) == Reached::Yes;
        if !need.after.is_none_or(reached) {
            return Err(Unfit::Token);
        }
        if fence.outdates(need.key, need.tags, need.epoch, self.upto) {
            return Err(Unfit::Overtaken);
        }
        self.proven(need.epoch, bound).filter(|as_of| *as_of >= need.since).ok_or(Unfit::Bound)
    }
}

#[cfg(test)]
#[path = "standby_tests.rs"]
mod tests;
