//! Touches that have to be reported to the shared tier.

use contract::Key;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::shared::Touch;

/// The maximum number of pending touches; beyond it a later use is reported instead.
const MAX_PENDING: usize = 16_384;
/// The maximum number of touches in one call.
const BATCH: usize = 256;

/// The touches that have not been reported to the shared tier.
#[derive(Default)]
pub(crate) struct TouchQueue {
    pending: Mutex<Vec<(Key, Touch)>>,
    added: Notify,
}

impl TouchQueue {
    /// Adds a touch, if there is room.
    pub(crate) fn add(&self, key: &Key, touch: Touch) {
        let mut pending = self.pending.lock();
        if pending.len() < MAX_PENDING {
            pending.push((key.clone(), touch));
            self.added.notify_one();
        }
    }

    /// Takes the touches for one call.
    pub(crate) fn take_batch(&self) -> Vec<(Key, Touch)> {
        let mut pending = self.pending.lock();
        let count = pending.len().min(BATCH);
        pending.drain(..count).collect()
    }

    /// Waits until touches have been added.
    pub(crate) async fn added(&self) {
        self.added.notified().await;
    }
}
