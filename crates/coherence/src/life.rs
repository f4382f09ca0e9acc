//! Lives that each use begins anew: how long what is used may stay.
//!
//! Using an entry prolongs its *life*, never its *proof*: whether it may be answered is asked of the
//! fence and the bound each time, as of any other. So only an answer that is proven to be within its
//! contract is a use. While nothing is proven, lives run out as they stood, and remain the safety net
//! that they are.

use std::time::Duration;

use crate::clock::Mono;

/// A life is not noted anew before this part of it has passed since the last time: finer than any
/// jitter, and so seldom that a hit hardly ever writes.
const GRAIN: u32 = 64;

/// What another tier holds is told of uses here once in this part of a life.
const REMINDERS: u32 = 4;

/// The life of an entry that its uses prolong.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Life {
    /// How long it goes on after a use.
    pub length: Duration,
    /// Where it ends in any case.
    pub cap: Mono,
}

impl Life {
    /// When it ends, if it is used at `now` and then never again.
    #[must_use]
    pub fn ends(self, now: Mono) -> Mono {
        (now + self.length).min(self.cap)
    }

    /// From when on the next use is to be noted, after one at `now`; `None`: it can't end later any
    /// more.
    #[must_use]
    pub fn next_use(self, now: Mono) -> Option<Mono> {
        (self.ends(now) < self.cap).then(|| now + self.length / GRAIN)
    }

    /// From when on another tier is to be told of uses, if it knows of all before `now`.
    #[must_use]
    pub fn next_reminder(self, now: Mono) -> Mono {
        now + self.length / REMINDERS
    }

    /// How much is left after a use, where `left` was; `None`: not worth noting.
    #[must_use]
    pub fn prolonged(self, now: Mono, left: Duration) -> Option<Duration> {
        let after = self.ends(now).since(now);
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
    fn each_use_begins_it_anew_up_to_its_cap() {
        let life = Life { length: 64 * SECOND, cap: at(100) };
        assert_eq!((life.ends(at(0)), life.next_use(at(0))), (at(64), Some(at(1))));
        assert_eq!((life.ends(at(30)), life.next_use(at(30))), (at(94), Some(at(31))));
        assert_eq!((life.ends(at(40)), life.next_use(at(40))), (at(100), None));
        assert_eq!(life.next_reminder(at(10)), at(26));
    }

    #[test]
    fn what_changes_too_little_is_not_noted() {
        let life = Life { length: 64 * SECOND, cap: at(100) };
        assert_eq!(life.prolonged(at(10), 63 * SECOND), None);
        assert_eq!(life.prolonged(at(10), 62 * SECOND), Some(64 * SECOND));
        assert_eq!(life.prolonged(at(90), 2 * SECOND), Some(10 * SECOND));
        assert_eq!(life.prolonged(at(200), Duration::ZERO), None, "it is over");
    }

    proptest! {
        /// Whoever is used keeps, from each use on, all of its length but the grain; whoever is not
        /// ends; and nobody lives past the cap.
        #[test]
        fn the_used_live_and_the_unused_end(
            length in 1..10_000_000_000_u64,
            cap in 0..100_000_000_000_u64,
            pauses in proptest::collection::vec(0..2_000_000_000_u64, 0..50),
        ) {
            let life = Life { length: Duration::from_nanos(length), cap: Mono(cap) };
            let mut now = Mono(0);
            let (mut ends, mut next) = (life.ends(now), life.next_use(now));
            for pause in pauses {
                now = now + Duration::from_nanos(pause);
                prop_assert!(ends <= life.cap && ends <= now + life.length);
                if now >= ends {
                    break;
                }
                if next.is_some_and(|next| now >= next) {
                    (ends, next) = (life.ends(now), life.next_use(now));
                }
                let due = (now + (life.length - life.length / GRAIN)).min(life.cap);
                prop_assert!(ends >= due, "{ends:?} {due:?}");
            }
        }
    }
}
