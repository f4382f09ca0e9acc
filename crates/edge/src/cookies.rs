//! Pages that clients with cookies get from the upstream themselves.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use coherence::Mono;
use contract::Key;

const SLOTS: usize = 4_096;

/// Remembers for a while which pages are not explicitly shared, so that clients with cookies do
/// not wait for one another's load of a page that none of them may get from another.
///
/// The engine's own memory of uncacheable answers can't be used for this: it would hold for clients
/// without cookies too, who may share the page. A slot is overwritten by whoever needs it next; a
/// forgotten page costs one wait.
pub(crate) struct CookiePages {
    /// The upper 32 bits name the page, the lower are the second in which it is forgotten.
    slots: Box<[AtomicU64]>,
    keep: Duration,
}

impl CookiePages {
    pub(crate) fn new(keep: Duration) -> Self {
        Self { slots: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(), keep }
    }

    pub(crate) fn remember(&self, key: &Key, now: Mono) {
        let (slot, name) = self.place(key);
        slot.store(name << 32 | seconds(now + self.keep), Ordering::Relaxed);
    }

    pub(crate) fn contains(&self, key: &Key, now: Mono) -> bool {
        let (slot, name) = self.place(key);
        let kept = slot.load(Ordering::Relaxed);
        kept >> 32 == name && kept & 0xffff_ffff > seconds(now)
    }

    /// The key ends in hex digits of a good hash; they need no further one.
    fn place(&self, key: &Key) -> (&AtomicU64, u64) {
        let text = key.as_str();
        let digits = text.get(text.len().saturating_sub(16)..).unwrap_or_default();
        let hash = u64::from_str_radix(digits, 16).unwrap_or_default();
        (&self.slots[hash as usize % SLOTS], hash >> 32)
    }
}

fn seconds(at: Mono) -> u64 {
    (at.0 / 1_000_000_000) & 0xffff_ffff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_remembered_for_a_while() {
        let pages = CookiePages::new(Duration::from_secs(10));
        let key = |id: u128| Key::parse(&format!("v1:edge:page:h-{id:032x}")).expect("a key");
        let at = |seconds: u64| Mono(seconds * 1_000_000_000);
        pages.remember(&key(7 << 40), at(100));
        assert!(pages.contains(&key(7 << 40), at(109)));
        assert!(!pages.contains(&key(7 << 40), at(110)));
        assert!(!pages.contains(&key(8 << 40), at(100)), "another page in the same slot");
    }
}
