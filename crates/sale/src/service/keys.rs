//! The idempotency keys of requests that this process executes.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::request::IdempotencyKey;

/// The keys in flight. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct KeysInFlight(Arc<Mutex<HashSet<IdempotencyKey>>>);

/// A key in flight, until it is dropped.
#[derive(Debug)]
pub(super) struct KeyGuard {
    keys: KeysInFlight,
    key: IdempotencyKey,
}

impl KeysInFlight {
    /// Returns `None` while another request has the key.
    pub(super) fn enter(&self, key: &IdempotencyKey) -> Option<KeyGuard> {
        let entered = self.0.lock().insert(key.clone());
        entered.then(|| KeyGuard { keys: self.clone(), key: key.clone() })
    }
}

impl Drop for KeyGuard {
    fn drop(&mut self) {
        self.keys.0.lock().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_has_one_request_at_a_time() {
        let keys = KeysInFlight::default();
        let key = IdempotencyKey::new("k").expect("a key");
        let first = keys.enter(&key);
        assert!(first.is_some() && keys.enter(&key).is_none());
        drop(first);
        assert!(keys.enter(&key).is_some());
    }
}
