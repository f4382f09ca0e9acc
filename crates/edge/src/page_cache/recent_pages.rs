//! Properties of pages that the gateway remembers for a while.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use coherence::Mono;
use contract::Key;

/// A page that was not asked for during this time after it was to be tried again is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(3_600);

/// Remembers pages for a limited time, such as those that are not explicitly shared: requests with cookies for
/// such a page do not wait for each other's loads, because none of them may use another's response. Once in a
/// while one of them finds out whether the page is shared by now, while the others still do not wait.
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

    /// Whether a page is remembered; unlike [`contains`](Self::contains), after its time too: of the requests that
    /// ask then, one gets false, to try the page again, and the others true for as long once more.
    pub(crate) fn claims(&self, key: &Key, now: Mono) -> bool {
        let (slot, page) = self.slot(key);
        let stored = slot.load(Ordering::Relaxed);
        if stored >> 32 != page {
            return false;
        }
        let (retry, at) = (stored & 0xffff_ffff, seconds(now));
        if retry > at {
            return true;
        }
        if at - retry > FORGOTTEN.as_secs() {
            return false;
        }
        let next = page << 32 | seconds(now + self.ttl);
        slot.compare_exchange(stored, next, Ordering::Relaxed, Ordering::Relaxed).is_err()
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

    #[test]
    fn one_request_tries_again() {
        let pages = RecentPages::new(4_096, Duration::from_secs(10));
        let key = |id: u128| Key::parse(&format!("v1:edge:page:h-{id:032x}")).expect("a key");
        let at = |seconds: u64| Mono(seconds * 1_000_000_000);
        pages.insert(&key(7 << 40), at(100));
        assert!(pages.claims(&key(7 << 40), at(109)));
        let asked = [(); 3].map(|()| pages.claims(&key(7 << 40), at(110)));
        assert_eq!(asked, [false, true, true], "one tries, and the others do not wait");
        assert!(!pages.claims(&key(7 << 40), at(120)), "the next try");
        assert!(!pages.claims(&key(8 << 40), at(100)), "another page in the same slot");
        pages.remove(&key(8 << 40));
        assert!(pages.claims(&key(7 << 40), at(121)));
        pages.remove(&key(7 << 40));
        assert!(!pages.claims(&key(7 << 40), at(122)));
        pages.insert(&key(7 << 40), at(130));
        assert!(!pages.claims(&key(7 << 40), at(4_000)), "forgotten");
        assert!(!pages.claims(&key(7 << 40), at(4_000)), "forgotten");
    }
}
