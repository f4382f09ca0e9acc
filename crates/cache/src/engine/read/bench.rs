//! The unproven lookup, to measure what fence and bound cost.

use contract::Key;

use crate::engine::handle::Engine;
use crate::engine::policy::Policy;

impl Engine {
    /// As [`peek`](Self::peek) with fence and bound compiled out. The type of the result is opaque: it can be
    /// timed and dropped, and not served.
    #[must_use]
    #[inline]
    pub fn peek_unproven(&self, key: &Key, policy: &Policy) -> Option<impl Sized + use<>> {
        let entry = self.tiers().local.get_unproven(key)?;
        self.plain_hit(policy, entry, None, |_| true)
    }
}
