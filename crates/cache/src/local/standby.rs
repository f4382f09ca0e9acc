//! The checks of a standby's answer against this tier.

use coherence::{Epoch, Lsn, Mono, ReadRequirement, Rejection, Replayed};

use super::tier::Local;

impl Local {
    /// Returns the position in the log of `epoch` that a standby must have replayed to be proven as of
    /// `since`.
    pub(crate) fn standby_needs(&self, epoch: Epoch, since: Mono) -> Option<Lsn> {
        self.writer.lock().bound.needed_of(epoch.log().run(), since)
    }

    /// Checks whether a standby's answer is acceptable, by this node's samples and its own tier. Returns the
    /// time as of which the answer is proven.
    ///
    /// # Errors
    /// Returns the reason why the answer is not acceptable.
    pub(crate) fn check_standby(
        &self,
        replayed: Replayed,
        need: ReadRequirement<'_>,
    ) -> Result<Mono, Rejection> {
        let writer = self.writer.lock();
        replayed.serves(need, &writer.fence, &writer.bound)
    }

    /// Returns the time as of which a standby's answer is proven.
    pub(crate) fn proven_by(&self, replayed: Replayed, epoch: Epoch) -> Option<Mono> {
        replayed.proven(epoch, &self.writer.lock().bound)
    }

    /// Returns the end of the primary's log at the last sample.
    pub(crate) fn log_end(&self) -> Option<Lsn> {
        self.writer.lock().bound.end()
    }
}
