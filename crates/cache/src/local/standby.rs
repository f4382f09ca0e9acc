//! What the in-process tier knows about answers of standbys.

use coherence::{Epoch, Lsn, Mono, Need, Replayed, Unfit};

use super::Local;

impl Local {
    /// How far a standby has to have got in the log of `epoch` to be proven as of `since`.
    pub(crate) fn standby_needs(&self, epoch: Epoch, since: Mono) -> Option<Lsn> {
        self.writer.lock().bound.needed_of(epoch.log().lineage(), since)
    }

    /// Whether what a standby answered will do, by this node's samples and its own tier.
    pub(crate) fn serves(&self, replayed: Replayed, need: Need<'_>) -> Result<Mono, Unfit> {
        let writer = self.writer.lock();
        replayed.serves(need, &writer.fence, &writer.bound)
    }

    /// The time as of which such an answer is proven.
    pub(crate) fn proven_by(&self, replayed: Replayed, epoch: Epoch) -> Option<Mono> {
        replayed.proven(epoch, &self.writer.lock().bound)
    }

    /// Where the primary's log ended when it was last sampled.
    pub(crate) fn log_end(&self) -> Option<Lsn> {
        self.writer.lock().bound.end()
    }
}
