//! The state of the leading node: the feed session and `cache::Leader`.

use coherence::resume::Start;
use coherence::{Batch, Epoch, Lsn, Watermark};

/// The leader.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Leader {
    /// The node that leads.
    pub node: usize,
    /// The epoch that it writes.
    pub epoch: Epoch,
    pub(crate) start: Start,
    pub(crate) watermark: Watermark,
    pub(crate) barrier: Option<u64>,
    /// The position and the watermark that the tiers received last.
    pub(crate) published: (Lsn, Lsn),
    /// A batch that the shared tier has applied and the leader's own tier has not.
    pub shortcut: Option<Batch>,
}

/// A call to the shared tier whose caller has died.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum LateCall {
    /// A batch.
    Apply(Batch),
    /// An epoch reset.
    ResetEpoch(Epoch, Lsn),
}

impl Leader {
    pub(crate) fn watermark(&self) -> Lsn {
        if self.barrier.is_some() { Lsn::ZERO } else { self.watermark.visible() }
    }
}
