//! A sliding TTL: the time that an entry stays after its last use.
//!
//! A use prolongs an entry's *TTL*, never its *proof*: the fence and the bound judge it like any other
//! entry. So only an answer that is proven within its contract counts as a use. While nothing is
//! proven, TTLs run out unchanged and remain the safety net.

use std::time::Duration;

use crate::clock::Mono;

/// A use is recorded only after this part of the TTL has passed since the last record: finer than any
/// jitter, and so rare that a hit hardly ever writes.
const GRAIN: u32 = 64;

/// Uses of an entry that another tier holds are reported to that tier once in this part of the TTL.
const REPORTS: u32 = 4;

/// A TTL that each use prolongs.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct SlidingTtl {
    /// The time that the entry stays after a use.
    pub length: Duration,
    /// The time at which it expires in any case.
    pub cap: Mono,
}

impl SlidingTtl {
    /// Returns the TTL that no use prolongs past `end`, if there is one.
    #[must_use]
    pub fn until(self, end: Option<Mono>) -> Self {
        Self { cap: end.map_or(self.cap, |end| self.cap.min(end)), ..self }
    }

    /// Returns when the entry expires if it is used at `now` and never again.
    #[must_use]
    pub fn expires_at(self, now: Mono) -> Mono {
        (now + self.length).min(self.cap)
    }

    /// Returns the time from which on the next use is to be recorded, after one at `now`. `None` if no
    /// use can prolong the entry any more.
    #[must_use]
    pub fn next_touch(self, now: Mono) -> Option<Mono> {
        (self.expires_at(now) < self.cap).then(|| now + self.length / GRAIN)
    }

    /// Returns the time from which on uses are to be reported to another tier that knows of all uses
    /// before `now`.
    #[must_use]
    pub fn next_report(self, now: Mono) -> Mono {
        now + self.length / REPORTS
    }

    /// Returns the remaining TTL after a use at `now`, if `left` remained before it. `None` if the
    /// difference is too small to record.
    #[must_use]
    pub fn prolonged(self, now: Mono, left: Duration) -> Option<Duration> {
        let after = self.expires_at(now).since(now);
        (after > left.saturating_add(self.length / GRAIN)).then_some(after)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: u64) -> Mono {
        Mono(0) + SECOND * seconds as u32
    }

    #[test]
    fn use_prolongs_up_to_the_cap() {
        let ttl = SlidingTtl { length: 64 * SECOND, cap: at(100) };
        assert_eq!((ttl.expires_at(at(0)), ttl.next_touch(at(0))), (at(64), Some(at(1))));
        assert_eq!((ttl.expires_at(at(30)), ttl.next_touch(at(30))), (at(94), Some(at(31))));
        assert_eq!((ttl.expires_at(at(40)), ttl.next_touch(at(40))), (at(100), None));
        assert_eq!(ttl.next_report(at(10)), at(26));
    }

    #[test]
    fn small_change_not_recorded() {
        let ttl = SlidingTtl { length: 64 * SECOND, cap: at(100) };
        assert_eq!(ttl.prolonged(at(10), 63 * SECOND), None);
        assert_eq!(ttl.prolonged(at(10), 62 * SECOND), Some(64 * SECOND));
        assert_eq!(ttl.prolonged(at(90), 2 * SECOND), Some(10 * SECOND));
        assert_eq!(ttl.prolonged(at(200), Duration::ZERO), None, "expired");
    }

    proptest! {
        /// After each use an entry keeps its whole TTL less one grain; without uses it expires; and no
        /// entry outlives its cap.
        #[test]
        fn used_entry_stays_unused_entry_expires(
            length in 1..10_000_000_000_u64,
            cap in 0..100_000_000_000_u64,
            pauses in proptest::collection::vec(0..2_000_000_000_u64, 0..50),
        ) {
            let ttl = SlidingTtl { length: Duration::from_nanos(length), cap: Mono(cap) };
            let mut now = Mono(0);
            let (mut ends, mut next) = (ttl.expires_at(now), ttl.next_touch(now));
            for pause in pauses {
                now = now + Duration::from_nanos(pause);
                prop_assert!(ends <= ttl.cap && ends <= now + ttl.length);
                if now >= ends {
                    break;
                }
                if next.is_some_and(|next| now >= next) {
                    (ends, next) = (ttl.expires_at(now), ttl.next_touch(now));
                }
                let due = (now + (ttl.length - ttl.length / GRAIN)).min(ttl.cap);
                prop_assert!(ends >= due, "{ends:?} {due:?}");
            }
        }
    }
}
