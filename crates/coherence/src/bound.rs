//! Since when a tier is known to miss nothing.
//!
//! At monotonic time t0 the primary is asked for the end of its log. Every commit that was
//! acknowledged before t0 lies at or below that position, so a tier which has applied it misses
//! none of them: its answers are proven fresh as of t0. Nothing else is needed, and silence makes
//! the bound grow by itself.

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::Mono;
use crate::position::{Log, Lsn};
use crate::rules::{Rule, on};

/// One node's samples of the primary's log end. Each node keeps its own, on its own clock.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Bound {
    /// Ascending in both parts.
    samples: VecDeque<(Mono, Lsn)>,
    capacity: usize,
    /// The log that the samples are of, where the sampler says so.
    log: Option<Log>,
}

impl Bound {
    /// Remembers `capacity` samples (at four a second, 2,400 are ten minutes); at least one.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { samples: VecDeque::new(), capacity: capacity.max(1), log: None }
    }

    /// The primary was asked at `asked` (read *before* the question was sent) and answered `end`.
    ///
    /// A log that ends earlier than it did is another log (a crash loses what was not flushed):
    /// what was sampled of the old one is forgotten.
    pub fn sample(&mut self, asked: Mono, end: Lsn) {
        if self.samples.back().is_some_and(|(_, last_end)| end < *last_end) {
            self.samples.clear();
        }
        if let Some((last_asked, last_end)) = self.samples.back_mut() {
            if asked < *last_asked {
                return;
            }
            // The same end again: the later question proves more.
            if end == *last_end {
                *last_asked = asked;
                return;
            }
        }
        if self.samples.len() == self.capacity {
            self.samples.pop_front();
        }
        self.samples.push_back((asked, end));
    }

    /// Like [`sample`](Self::sample), where the answer also said of which log it is the end.
    /// Positions of two logs can't be compared: after a failover or a crash the end may lie lower
    /// than before, and a tier that has applied more than the new log holds would seem to miss
    /// nothing. So the first answer of another log ends what was sampled before.
    pub fn sample_of(&mut self, log: Log, asked: Mono, end: Lsn) {
        if self.log != Some(log) {
            self.samples.clear();
            self.log = Some(log);
        }
        self.sample(asked, end);
    }

    /// Whether the last sample is of `log`. If not, the database writes another one by now, and what is
    /// loaded from it tells positions of that one.
    #[must_use]
    pub fn is_of(&self, log: Log) -> bool {
        self.log == Some(log)
    }

    /// Like [`proven`](Self::proven), for a tier that follows `log`: samples of another one prove
    /// nothing to it.
    #[must_use]
    pub fn proven_of(&self, log: Log, applied: Lsn) -> Option<Mono> {
        if self.log == Some(log) { self.proven(applied) } else { None }
    }

    /// The time as of which a tier that has applied `applied` is proven to miss nothing; `None`
    /// if no sample says.
    #[must_use]
    pub fn proven(&self, applied: Lsn) -> Option<Mono> {
        let covered = |end: Lsn| end <= applied || !on(Rule::ProofNeedsPosition);
        let after = self.samples.partition_point(|(_, end)| covered(*end));
        after.checked_sub(1).map(|last| self.samples[last].0)
    }

    /// How far a tier that follows `log` must have applied it to be [proven](Self::proven_of) as of
    /// `as_of`; `None`: no sample is that young.
    #[must_use]
    pub fn needed_of(&self, log: Log, as_of: Mono) -> Option<Lsn> {
        let older = self.samples.partition_point(|(asked, _)| *asked < as_of);
        let young = self.samples.get(older).filter(|_| self.log == Some(log));
        young.map(|(_, end)| *end)
    }

    /// The newest sample: where the log ended.
    #[must_use]
    pub fn end(&self) -> Option<Lsn> {
        self.samples.back().map(|(_, end)| *end)
    }

    /// The bound itself at `now`; `None` means nothing is proven.
    #[must_use]
    pub fn at(&self, now: Mono, applied: Lsn) -> Option<Duration> {
        self.proven(applied).map(|proven| now.since(proven))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn silence_makes_the_bound_grow() {
        let mut bound = Bound::new(8);
        assert_eq!(bound.at(Mono(5), Lsn(9)), None, "nothing is proven before the first sample");
        bound.sample(Mono(1_000), Lsn(10));
        assert_eq!(bound.at(Mono(1_500), Lsn(9)), None);
        assert_eq!(bound.at(Mono(1_500), Lsn(10)), Some(Duration::from_nanos(500)));
        assert_eq!(bound.at(Mono(9_000), Lsn(10)), Some(Duration::from_nanos(8_000)));
    }

    #[test]
    fn what_is_needed_for_a_proof_proves_as_much() {
        let epoch = crate::Epoch::default();
        let log = epoch.log();
        let mut bound = Bound::new(8);
        assert_eq!(bound.needed_of(log, Mono(0)), None);
        for (asked, end) in [(100, 1), (200, 2), (300, 2), (400, 5)] {
            bound.sample_of(log, Mono(asked), Lsn(end));
        }
        for as_of in 0..=400 {
            let needed = bound.needed_of(log, Mono(as_of)).expect("a sample is that young");
            assert!(bound.proven_of(log, needed) >= Some(Mono(as_of)));
            assert!(
                bound.proven_of(log, Lsn(needed.0 - 1)) < Some(Mono(as_of)),
                "no more than that"
            );
        }
        assert_eq!(bound.needed_of(log, Mono(401)), None);
        let other = crate::Epoch { timeline: 7, ..epoch }.log();
        assert_eq!(bound.needed_of(other, Mono(0)), None);
    }

    #[test]
    fn a_tier_that_was_rolled_back_shows_the_truth() {
        let mut bound = Bound::new(8);
        for (t, lsn) in [(100, 1), (200, 2), (300, 3)] {
            bound.sample(Mono(t), Lsn(lsn));
        }
        assert_eq!(bound.proven(Lsn(3)), Some(Mono(300)));
        assert_eq!(bound.proven(Lsn(1)), Some(Mono(100)));
    }

    #[test]
    fn a_log_that_was_cut_short_is_sampled_anew() {
        let mut bound = Bound::new(8);
        bound.sample(Mono(100), Lsn(50));
        bound.sample(Mono(200), Lsn(40));
        assert_eq!(bound.proven(Lsn(39)), None);
        assert_eq!(bound.proven(Lsn(40)), Some(Mono(200)), "the old end is not waited for");
    }

    #[test]
    fn an_idle_log_stays_proven() {
        let mut bound = Bound::new(2);
        for t in 0..100 {
            bound.sample(Mono(t), Lsn(7));
        }
        assert_eq!(bound.proven(Lsn(7)), Some(Mono(99)));
    }

    #[test]
    fn samples_of_another_log_prove_nothing() {
        let old = Log { system: 1, timeline: 1, server: 1 };
        let new = Log { timeline: 2, server: 2, ..old };
        let mut bound = Bound::new(8);
        bound.sample_of(old, Mono(100), Lsn(90));
        bound.sample_of(new, Mono(200), Lsn(85));
        assert_eq!(bound.proven_of(old, Lsn(90)), None, "90 in the old log is not past 85 here");
        assert_eq!(bound.proven_of(new, Lsn(85)), Some(Mono(200)));
    }

    proptest! {
        /// Against the naive rule: the newest question whose answer is covered by `applied`,
        /// among the samples that were neither out of order nor forgotten.
        #[test]
        fn never_smaller_than_the_truth(
            steps in proptest::collection::vec((0_u64..5, 0_u64..4), 1..60),
            applied in 0_u64..150,
        ) {
            let (mut t, mut end) = (0, 0);
            let mut all = Vec::new();
            let mut bound = Bound::new(16);
            for (dt, dl) in steps {
                t += dt;
                end += dl;
                all.push((t, end));
                bound.sample(Mono(t), Lsn(end));
            }
            let truth = all.iter().filter(|(_, end)| *end <= applied).map(|(t, _)| *t).max();
            match (bound.proven(Lsn(applied)), truth) {
                (Some(shown), Some(truth)) => prop_assert_eq!(shown.0, truth),
                (Some(_), None) => prop_assert!(false, "proved something that no sample says"),
                (None, _) => {}
            }
        }
    }
}
