//! Loads from a standby: the proof of its answer, and whether the answer is acceptable.
//!
//! A standby shows the commits that it has replayed, which lag behind the primary. W is about the
//! primary's snapshots and says nothing about a standby's. The position that the standby has replayed
//! *before* the reading statement begins does: a standby makes a commit visible first and moves that
//! position afterwards. So the position is the answer's τ. Together with the samples of the primary's log
//! end it gives the answer's [bound](crate::bound), as if the standby were a tier at that position.

use contract::{Key, Tag};

use crate::clock::Mono;
use crate::position::{Epoch, Log, Lsn};
use crate::read::bound::Bound;
use crate::read::causal_token::{CausalToken, Reached};
use crate::rules::{Rule, on};
use crate::tier::fence::Fence;

/// The replay position of a standby, from a statement that ended before the reading one began.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Replayed {
    /// The log that the standby follows, whichever start of the primary wrote it.
    pub log: Log,
    /// Every commit up to here is visible to the standby's later snapshots.
    pub upto: Lsn,
}

/// The requirements of a reader for an answer.
#[derive(Clone, Copy, Debug)]
pub struct ReadRequirement<'a> {
    /// The key.
    pub key: &'a Key,
    /// The known tags of its entry.
    pub tags: &'a [Tag],
    /// The epoch that the load belongs to, as known before the load.
    pub epoch: Epoch,
    /// The reader's writes, which the answer must include.
    pub token: Option<CausalToken>,
    /// The answer must include every commit acknowledged before this time.
    pub since: Mono,
}

/// The reason why a standby's answer is not acceptable and the primary must be read.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Rejection {
    /// The standby follows another log, so its position means nothing here.
    Log,
    /// It has not replayed the reader's writes.
    Token,
    /// The answer misses a commit that this node has applied.
    Overtaken,
    /// The answer is not proven to be within its contract.
    Bound,
}

impl Rejection {
    /// Returns the name used in metrics and logs.
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
    /// Returns the τ of a value read from this standby. `watermark` is W as known before the load: the τ of
    /// a load from the primary, which must never be used for a standby.
    #[must_use]
    pub fn token(self, watermark: Lsn) -> Lsn {
        if on(Rule::StandbyOwnToken) { self.upto } else { watermark }
    }

    /// Returns whether positions of this standby can be compared with those of a tier in `epoch`.
    #[must_use]
    pub fn is_of(self, epoch: Epoch) -> bool {
        self.log.lineage() == epoch.log().lineage() || !on(Rule::StandbySameLog)
    }

    /// Returns the time as of which an answer at this position in the log of `epoch` is proven.
    #[must_use]
    pub fn proven(self, epoch: Epoch, bound: &Bound) -> Option<Mono> {
        bound.proven_of(epoch.log().run(), self.upto)
    }

    /// Checks the answer, and returns the time as of which the samples in `bound` prove it. `fence` is the
    /// reading node's own tier: an answer that it knows to be invalidated is rejected.
    ///
    /// # Errors
    /// [`Rejection`]: the primary must be read.
    pub fn serves(
        self,
        required: ReadRequirement<'_>,
        fence: &Fence,
        bound: &Bound,
    ) -> Result<Mono, Rejection> {
        if !self.is_of(required.epoch) {
            return Err(Rejection::Log);
        }
        let reached =
            |token: CausalToken| token.reached(Some(required.epoch), self.upto) == Reached::Yes;
        if !required.token.is_none_or(reached) {
            return Err(Rejection::Token);
        }
        if fence.outdates(required.key, required.tags, required.epoch, self.upto) {
            return Err(Rejection::Overtaken);
        }
        self.proven(required.epoch, bound)
            .filter(|as_of| *as_of >= required.since)
            .ok_or(Rejection::Bound)
    }
}

#[cfg(test)]
#[path = "standby_tests.rs"]
mod tests;
