//! The server process of the shared tier.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cache::shared::MemoryTier;
use coherence::{Clock, LeaseToken};
use contract::Key;

use super::values::nanos;

/// The server's process and its disk.
pub(super) struct SharedServer {
    clock: Arc<dyn Clock>,
    bytes: u64,
    memory: Arc<MemoryTier>,
    pub(super) up: bool,
    saved: Option<MemoryTier>,
    /// The number of restarts; a lease of an earlier generation is void.
    pub(super) generation: u64,
    /// The holder of each lease and its end, as its holder knows it.
    pub(super) holders: BTreeMap<Key, (LeaseToken, u64)>,
}

impl SharedServer {
    pub(super) fn new(clock: Arc<dyn Clock>, bytes: u64) -> Self {
        let memory = Arc::new(MemoryTier::new(Arc::clone(&clock), bytes));
        Self {
            clock,
            bytes,
            memory,
            up: true,
            saved: None,
            generation: 1,
            holders: BTreeMap::new(),
        }
    }

    /// Saves the state to disk.
    pub(super) fn save(&mut self) {
        self.saved = Some(self.memory.copy());
    }

    /// Drops all state.
    pub(super) fn flush(&mut self) {
        self.replace_with(MemoryTier::new(Arc::clone(&self.clock), self.bytes));
    }

    /// Restores the saved state, if there is one.
    pub(super) fn roll_back(&mut self) {
        match self.saved.take() {
            Some(saved) => self.replace_with(saved),
            None => self.flush(),
        }
    }

    /// Restarts with the present state.
    pub(super) fn restart(&mut self) {
        let same = self.memory.copy();
        self.replace_with(same);
    }

    pub(super) fn replace_with(&mut self, memory: MemoryTier) {
        self.memory = Arc::new(memory);
        self.generation += 1;
        self.holders.clear();
    }

    /// Returns the key's present holder at `now`.
    pub(super) fn holder(&self, key: &Key, now: u64) -> Option<LeaseToken> {
        self.holders.get(key).filter(|(_, until)| *until > now).map(|(holder, _)| *holder)
    }

    pub(super) fn record_holder(&mut self, key: &Key, holder: LeaseToken, now: u64, ttl: Duration) {
        self.holders.insert(key.clone(), (holder, now + nanos(ttl)));
    }

    pub(super) fn remove_holder(&mut self, key: &Key, holder: LeaseToken) {
        if self.holders.get(key).is_some_and(|(held_by, _)| *held_by == holder) {
            self.holders.remove(key);
        }
    }

    pub(super) fn memory(&self) -> Arc<MemoryTier> {
        Arc::clone(&self.memory)
    }
}
