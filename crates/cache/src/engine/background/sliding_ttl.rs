//! Sliding TTLs: a use of an entry prolongs its life, in every tier that stores it.
//!
//! A use is an answer that is proven to be within its contract. The in-process tier records it in the entry;
//! the shared tier in the step that finds the entry there. A node that answers from its own copy reports the
//! touches to the shared tier in the background.

use std::convert::Infallible;
use std::time::Duration;

use crate::engine::tiers::TierStack;

/// The pause after a call: with 256 touches in one, 25,600 a second at most.
const PAUSE: Duration = Duration::from_millis(10);

impl TierStack {
    /// Reports touches to the shared tier, for as long as it is polled.
    pub(super) async fn report_touches(&self) -> Infallible {
        loop {
            self.touches.added().await;
            loop {
                let touches = self.touches.take_batch();
                if touches.is_empty() {
                    break;
                }
                // If the call fails, the report of the entry's next quarter replaces it.
                self.shared.call(self.shared.tier.touch(&touches)).await;
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
