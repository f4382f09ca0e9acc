//! The bound: the time as of which a tier is proven to miss nothing.
//!
//! At monotonic time t0 the primary is asked for the end of its log. Every commit that was acknowledged
//! before t0 is at or below that position. So a tier that has applied this position misses none of them:
//! its answers are proven fresh as of t0. Nothing else is needed, and in silence the bound grows by
//! itself.

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::Mono;
use crate::position::{Epoch, Log, Lsn};
use crate::rules::{Rule, on};

/// The samples that one node has taken of the primary's log end. Each node takes its own, on its own clock.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Bound {
    /// Ascending in both parts.
    samples: VecDeque<(Mono, Lsn)>,
    capacity: usize,
    /// The log of the samples, if the sampler reports it.
    log: Option<Log>,
}

impl Bound {
    /// Returns a bound that keeps `capacity` samples, at least one. At 40 per second, 24,000 are ten minutes.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { samples: VecDeque::new(), capacity: capacity.max(1), log: None }
    }

    /// Records that the primary, asked at `asked` (read *before* the question was sent), reported `end`.
    ///
    /// An end below the last one means another log, because a crash loses unflushed commits: the samples
    /// of the old log are dropped.
    pub fn sample(&mut self, asked: Mono, end: Lsn) {
        if self.samples.back().is_some_and(|(_, last_end)| end < *last_end) {
            self.samples.clear();
        }
        if let Some((last_asked, last_end)) = self.samples.back_mut() {
            if asked < *last_asked {
                return;
            }
            // The same end again: the later sample proves more.
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

    /// Records a sample like [`sample`](Self::sample), of a named log. Positions of two logs can't be
    /// compared: after a failover or a crash the end may be lower than before, and a tier that has applied
    /// more than the new log contains would seem to miss nothing. So the first sample of another log
    /// drops all earlier ones.
    pub fn sample_of(&mut self, log: Log, asked: Mono, end: Lsn) {
        if self.log != Some(log) {
            self.samples.clear();
            self.log = Some(log);
        }
        self.sample(asked, end);
    }

    /// Returns whether the last sample is of `log`. If not, the database writes another log by now, and
    /// loads from it carry positions of that one.
    #[must_use]
    pub fn is_of(&self, log: Log) -> bool {
        self.log == Some(log)
    }

    /// Returns the same as [`proven`](Self::proven) for a tier that follows `log`; `None` if the samples are
    /// of another log.
    #[must_use]
    pub fn proven_of(&self, log: Log, applied: Lsn) -> Option<Mono> {
        let is_own = self.log == Some(log) || !on(Rule::ProofOfOwnLog);
        if is_own { self.proven(applied) } else { None }
    }

    /// Returns the time as of which a tier that has applied `applied` is proven to miss nothing; `None` if
    /// no sample proves it.
    #[must_use]
    pub fn proven(&self, applied: Lsn) -> Option<Mono> {
        let covered = |end: Lsn| end <= applied || !on(Rule::ProofNeedsPosition);
        let after = self.samples.partition_point(|(_, end)| covered(*end));
        after.checked_sub(1).map(|last| self.samples[last].0)
    }

    /// Returns the position that a tier of `log` must have applied to be [proven](Self::proven_of) as of
    /// `as_of`; `None` if no sample is that young.
    #[must_use]
    pub fn needed_of(&self, log: Log, as_of: Mono) -> Option<Lsn> {
        let older = self.samples.partition_point(|(asked, _)| *asked < as_of);
        let young = self.samples.get(older).filter(|_| self.log == Some(log));
        young.map(|(_, end)| *end)
    }

    /// Returns the end of the log in the newest sample.
    #[must_use]
    pub fn end(&self) -> Option<Lsn> {
        self.samples.back().map(|(_, end)| *end)
    }

    /// Returns the bound itself at `now`; `None` if nothing is proven.
    #[must_use]
    pub fn at(&self, now: Mono, applied: Lsn) -> Option<Duration> {
        self.proven(applied).map(|proven| now.since(proven))
    }
}

/// The log of the server behind a connection, as far as the connection identifies it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ServerLog {
    /// See [`Log::system`].
    pub system: u64,
    /// See [`Log::timeline`]; `None` where a server may begin another one while it runs.
    pub timeline: Option<u32>,
    /// See [`Log::server`].
    pub server: u64,
}

impl From<Log> for ServerLog {
    fn from(Log { system, timeline, server }: Log) -> Self {
        Self { system, timeline: Some(timeline), server }
    }
}

impl ServerLog {
    /// Whether it is the log that `epoch` follows.
    fn is_of(self, epoch: Epoch) -> bool {
        let followed = epoch.log();
        let timeline = self.timeline.unwrap_or(followed.timeline);
        Log { system: self.system, timeline, server: self.server }.run() == followed.run()
    }
}

/// Returns whether a value may be offered to a tier in `epoch` that was loaded over a connection to the server of
/// `log`; `None`: its origin is no database, or does not say.
#[must_use]
pub fn is_of_log(epoch: Epoch, log: Option<ServerLog>) -> bool {
    log.is_none_or(|log| log.is_of(epoch)) || !on(Rule::FillOfOwnLog)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bound_grows_in_silence() {
        let mut bound = Bound::new(8);
        assert_eq!(bound.at(Mono(5), Lsn(9)), None, "nothing is proven before the first sample");
        bound.sample(Mono(1_000), Lsn(10));
        assert_eq!(bound.at(Mono(1_500), Lsn(9)), None);
        assert_eq!(bound.at(Mono(1_500), Lsn(10)), Some(Duration::from_nanos(500)));
        assert_eq!(bound.at(Mono(9_000), Lsn(10)), Some(Duration::from_nanos(8_000)));
    }

    #[test]
    fn needed_position_is_exact() {
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
                "a lower position does not suffice"
            );
        }
        assert_eq!(bound.needed_of(log, Mono(401)), None);
        let other = crate::Epoch { timeline: 7, ..epoch }.log();
        assert_eq!(bound.needed_of(other, Mono(0)), None);
    }

    #[test]
    fn restored_tier_shows_its_old_position() {
        let mut bound = Bound::new(8);
        for (t, lsn) in [(100, 1), (200, 2), (300, 3)] {
            bound.sample(Mono(t), Lsn(lsn));
        }
        assert_eq!(bound.proven(Lsn(3)), Some(Mono(300)));
        assert_eq!(bound.proven(Lsn(1)), Some(Mono(100)));
    }

    #[test]
    fn shorter_log_drops_samples() {
        let mut bound = Bound::new(8);
        bound.sample(Mono(100), Lsn(50));
        bound.sample(Mono(200), Lsn(40));
        assert_eq!(bound.proven(Lsn(39)), None);
        assert_eq!(bound.proven(Lsn(40)), Some(Mono(200)), "the old end is not required");
    }

    #[test]
    fn idle_log_stays_proven() {
        let mut bound = Bound::new(2);
        for t in 0..100 {
            bound.sample(Mono(t), Lsn(7));
        }
        assert_eq!(bound.proven(Lsn(7)), Some(Mono(99)));
    }

    #[test]
    fn samples_of_other_log_prove_nothing() {
        let old = Log { system: 1, timeline: 1, server: 1 };
        let new = Log { timeline: 2, server: 2, ..old };
        let mut bound = Bound::new(8);
        bound.sample_of(old, Mono(100), Lsn(90));
        bound.sample_of(new, Mono(200), Lsn(85));
        assert_eq!(bound.proven_of(old, Lsn(90)), None, "90 in the old log is not past 85 here");
        assert_eq!(bound.proven_of(new, Lsn(85)), Some(Mono(200)));
    }

    proptest! {
        /// Against the naive rule: the newest sample whose end is at or below `applied`, among the samples
        /// that were neither out of sequence nor dropped.
        #[test]
        fn bound_never_below_truth(
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
                (Some(_), None) => prop_assert!(false, "a proof without a sample"),
                (None, _) => {}
            }
        }
    }
}
