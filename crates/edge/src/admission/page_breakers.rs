//! Circuit breakers of single pages.
//!
//! A server error says that a page is broken, not that the upstream is: it counts against its own page.
//! While a page's breaker is open, the page is loaded once in a while as a probe.

use std::collections::HashMap;
use std::time::Duration;

use cache::admission::{BreakerOptions, BreakerPass, CircuitBreaker};
use coherence::Mono;

/// When the breaker of a page opens.
const OPTIONS: BreakerOptions = BreakerOptions {
    min_calls: 8,
    failure_share: 0.5,
    open_for: Duration::from_millis(250),
    max_open: Duration::from_millis(500),
    probe_timeout: Duration::from_millis(500),
};

/// The most pages that are remembered; the one that failed the longest time ago is forgotten first.
const MAX_PAGES: usize = 1024;

/// A page, as a hash of its route, host and path.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct PageId(pub(crate) u64);

/// The state machine of the breakers: one for each page that has failed lately.
#[derive(Debug, Default)]
pub(crate) struct PageBreakers(HashMap<PageId, Entry>);

#[derive(Debug)]
struct Entry {
    breaker: CircuitBreaker,
    failed: Mono,
}

impl PageBreakers {
    /// Decides about a load at `now`.
    pub(crate) fn try_pass(&mut self, page: PageId, now: Mono) -> BreakerPass {
        self.0.get_mut(&page).map_or(BreakerPass::Free, |entry| entry.breaker.try_pass(now))
    }

    /// Records the outcome of a load that has passed.
    pub(crate) fn record(&mut self, page: PageId, now: Mono, pass: BreakerPass, good: bool) {
        if good {
            let Some(entry) = self.0.get_mut(&page) else { return };
            entry.breaker.record(now, pass, true);
            if entry.breaker.is_clean() {
                self.0.remove(&page);
            }
            return;
        }
        if !self.0.contains_key(&page) && self.0.len() >= MAX_PAGES {
            self.forget_oldest();
        }
        let new = || Entry { breaker: CircuitBreaker::new(OPTIONS), failed: now };
        let entry = self.0.entry(page).or_insert_with(new);
        entry.failed = now;
        entry.breaker.record(now, pass, false);
    }

    fn forget_oldest(&mut self) {
        let oldest = self.0.iter().min_by_key(|(_, entry)| entry.failed).map(|(page, _)| *page);
        if let Some(oldest) = oldest {
            self.0.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn load(breakers: &mut PageBreakers, page: u64, at_ms: u64, good: bool) -> BreakerPass {
        let now = Mono(at_ms * MS);
        let pass = breakers.try_pass(PageId(page), now);
        if !matches!(pass, BreakerPass::Refused(_) | BreakerPass::Probing(_)) {
            breakers.record(PageId(page), now, pass, good);
        }
        pass
    }

    #[test]
    fn failing_page_leaves_others_open() {
        let mut breakers = PageBreakers::default();
        for at in 0..8 {
            assert_eq!(load(&mut breakers, 1, at, false), BreakerPass::Free);
        }
        assert!(matches!(load(&mut breakers, 1, 8, false), BreakerPass::Refused(_)));
        assert_eq!(load(&mut breakers, 2, 8, true), BreakerPass::Free);
    }

    #[test]
    fn repaired_page_back_within_half_a_second() {
        let mut breakers = PageBreakers::default();
        let passed = |pass| !matches!(pass, BreakerPass::Refused(_) | BreakerPass::Probing(_));
        let tries = (0..60_000).step_by(50);
        let made = tries.filter(|at| passed(load(&mut breakers, 1, *at, false))).count();
        assert!((100..200).contains(&made), "{made} loads of a broken page in a minute");
        let back = (60_000..).find(|at| passed(load(&mut breakers, 1, *at, true)));
        assert!(back.is_some_and(|at| at <= 60_500), "{back:?}");
        assert!(breakers.0.is_empty());
    }

    #[test]
    fn table_is_bounded() {
        let mut breakers = PageBreakers::default();
        for page in 0..5_000 {
            load(&mut breakers, page, page, false);
        }
        assert_eq!(breakers.0.len(), MAX_PAGES);
        assert!(breakers.0.contains_key(&PageId(4_999)));
    }
}
