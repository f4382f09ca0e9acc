//! One round trip to the shared tier for many keys.

use contract::Key;

use crate::engine::tiers::TierStack;
use crate::shared::{SharedRead, Touch};

impl TierStack {
    /// Reads all of the keys from the shared tier; `None`: it does not answer.
    pub(super) async fn read_many(
        &self,
        keys: &[Key],
        touches: &[Option<Touch>],
        lease: bool,
    ) -> Option<Vec<SharedRead>> {
        if keys.is_empty() {
            return Some(Vec::new());
        }
        self.metrics.batches.round_trip("shared");
        let lease = lease.then_some(self.options.lease_ttl);
        let tier = &self.shared.tier;
        let reads = if touches.iter().any(Option::is_some) {
            self.shared.call(tier.read_and_touch(keys, touches, lease)).await?
        } else {
            self.shared.call(tier.read_many(keys, lease)).await?
        };
        (reads.len() == keys.len()).then_some(reads)
    }
}
