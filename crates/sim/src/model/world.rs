//! The whole state.

use coherence::{Epoch, Mono};

use crate::model::composition::Omitted;
use crate::model::database::{CommitSet, Database, includes};
use crate::model::keys::KeyId;
use crate::model::leader::{LateCall, Leader};
use crate::model::load::Load;
use crate::model::node::Node;
use crate::model::scene::{Design, Remaining};
use crate::model::tier::Tier;

/// The state of the model.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct World {
    /// The database.
    pub db: Database,
    /// The tier that all nodes share.
    pub tier: Tier,
    /// An earlier state of it.
    pub saved: Option<Box<Tier>>,
    /// The nodes.
    pub nodes: Vec<Node>,
    /// The leader, if there is one.
    pub leader: Option<Leader>,
    /// A call whose caller has died.
    pub late: Option<LateCall>,
    /// The reads in flight.
    pub loads: Vec<Load>,
    /// The shared tier's clock, which only leases use.
    pub clock: Mono,
    /// The number of random numbers drawn.
    pub draws: u64,
    /// Whether a fill was stored under a lease with another holder.
    pub stored_late: bool,
    /// Whether an entry was replaced by one with an older version.
    pub version_decreased: bool,
    /// Whether an answer of a standby missed a commit from before its proven time.
    pub bound_violated: bool,
    /// How often each step may still happen.
    pub remaining: Remaining,
    pub(crate) design: Design,
    pub(crate) omitted: Omitted,
    pub(crate) leases: bool,
    pub(crate) shortcut: bool,
    pub(crate) local: bool,
}

impl World {
    /// Returns the shared tier's epoch, if it has one.
    #[must_use]
    pub fn epoch(&self) -> Option<Epoch> {
        self.tier.fence.epoch()
    }

    pub(crate) fn now(&self) -> Mono {
        Mono(u64::from(self.db.now))
    }

    /// Returns whether a value of the key includes every commit that was visible by `then`, and no commit
    /// that was lost by then.
    pub(crate) fn is_true_as_of(&self, key: KeyId, seen: CommitSet, then: Mono) -> bool {
        let Ok(then) = u8::try_from(then.0) else { return true };
        includes(seen, self.db.required(key, then)) && seen & self.db.gone(then) == 0
    }
}
