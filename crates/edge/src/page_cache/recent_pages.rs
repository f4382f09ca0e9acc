//! Properties of pages that the gateway remembers for a while.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use coherence::Mono;
use contract::Key;

/// Remembers pages for a limited time, such as those that are not explicitly shared: requests with cookies for
/// such a page do not wait for each other's loads, because none of them may use another's response.
///
/// The engine's own record of uncacheable answers does not serve here: it would apply to requests
/// without cookies too, which may share the page. A collision overwrites a slot; a forgotten page
/// costs one load more.
pub(crate) struct RecentPages {
    /// The upper 32 bits identify the page, the lower 32 bits are the second at which it expires.
    slots: Box<[AtomicU64]>,
    ttl: Duration,
}

impl RecentPages {
    /// Remembers at most `slots` pages.
    pub(crate) fn new(slots: usize, ttl: Duration) -> Self {
        Self { slots: (0..slots).map(|_| AtomicU64::new(0)).collect(), ttl }
    }

    pub(crate) fn insert(&self, key: &Key, now: Mono) {
        let (slot, page) = self.slot(key);
        slot.store(page << 32 | seconds(now + self.ttl), Ordering::Relaxed);
    }

    pub(crate) fn remove(&self, key: &Key) {
        let (slot, page) = self.slot(key);
        let stored = slot.load(Ordering::Relaxed);
        if stored >> 32 == page {
            // Fails only if another page has taken the slot.
            let _ = slot.compare_exchange(stored, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    pub(crate) fn contains(&self, key: &Key, now: Mono) -> bool {
        let (slot, page) = self.slot(key);
        let stored = slot.load(Ordering::Relaxed);
        stored >> 32 == page && stored & 0xffff_ffff > seconds(now)
    }

    /// The slot of a page and its identifier. The key ends in the hexadecimal digits of SHA-256, so it
    /// needs no further hash.
    fn slot(&self, key: &Key) -> (&AtomicU64, u64) {
        let text = key.as_str();
        let digits = text.get(text.len().saturating_sub(16)..).unwrap_or_default();
        let hash = u64::from_str_radix(digits, 16).unwrap_or_default();
        (&self.slots[hash as usize % self.slots.len()], hash >> 32)
    }
}

fn seconds(at: Mono) -> u64 {
    (at.0 / 1_000_000_000) & 0xffff_ffff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_expires() {
        let pages = RecentPages::new(4_096, Duration::from_secs(10));
        let key = |id: u128| Key::parse(&format!("v1:edge:page:h-{id:032x}")).expect("a key");
        let at = |seconds: u64| Mono(seconds * 1_000_000_000);
        pages.insert(&key(7 << 40), at(100));
        assert!(pages.contains(&key(7 << 40), at(109)));
        assert!(!pages.contains(&key(7 << 40), at(110)));
        assert!(!pages.contains(&key(8 << 40), at(100)), "another page in the same slot");
        pages.remove(&key(8 << 40));
        assert!(pages.contains(&key(7 << 40), at(109)));
        pages.remove(&key(7 << 40));
        assert!(!pages.contains(&key(7 << 40), at(100)));
    }
}
