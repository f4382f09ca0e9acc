//! The newest invalidations of one tag, which a reader of an entry compares the entry with.

use std::sync::atomic::{AtomicU64, Ordering};

use coherence::{Generation, Lsn, Raise};

/// The [generation](coherence::generation) of a tag. Written under the tier's mutex; read without a lock.
///
/// Each entry with the tag refers to it. It stays as it is after its tag has left the index, so that a reader
/// who still has an old entry sees that it is old.
#[derive(Debug, Default)]
pub(super) struct TagCell {
    newest: AtomicU64,
    hard: AtomicU64,
    /// Entries with a lower stamp were evicted.
    evicted: AtomicU64,
}

impl TagCell {
    pub(super) fn generation(&self) -> Generation {
        let load = |position: &AtomicU64| Lsn(position.load(Ordering::Acquire));
        Generation { newest: load(&self.newest), hard: load(&self.hard) }
    }

    pub(super) fn raise(&self, raise: Raise) {
        let Generation { newest, hard } = self.generation().raised(raise);
        self.newest.store(newest.0, Ordering::Release);
        self.hard.store(hard.0, Ordering::Release);
    }

    pub(super) fn evict(&self, stamp: u64) {
        self.evicted.store(stamp, Ordering::Release);
    }

    /// Returns whether an entry with this stamp was evicted.
    pub(super) fn is_evicted(&self, stamp: u64) -> bool {
        stamp < self.evicted.load(Ordering::Acquire)
    }
}
