//! The database's clock as a node knows it: for values that change at a time without a commit.
//!
//! A price may hold from 20:00 on. Its row was committed days before, so the log has no event at 20:00; the *database's*
//! clock decides. A node reads that clock beside the end of the log: asked at `asked`, answered at `answered`, it
//! showed `shown` at some time in between. So the clock reaches a later time within a [`Turn`] of the node's own
//! time, as wide as the question took, plus the drift of two clocks since then. An entry whose value changes then is
//! fresh before the earliest end of the turn, and proven no later than that.

use std::num::NonZeroU64;
use std::time::Duration;

use crate::clock::Mono;
use crate::position::Log;
use crate::rules::{Rule, on};

/// Two clocks drift apart by one part in this many at most: 500 ppm, the limit up to which NTP steers a clock.
const DRIFT: u64 = 2_000;

/// A time by the database's clock, in µs since 1970; later than that.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ClockTime(NonZeroU64);

impl ClockTime {
    /// Returns the time that many µs after the start of 1970; `None` for zero.
    #[must_use]
    pub fn from_micros(micros: u64) -> Option<Self> {
        NonZeroU64::new(micros).map(Self)
    }

    /// Parses a number of seconds since 1970, such as `1764532800.25`, and rounds it down to a whole µs. `None`: the text is
    /// none, or not after 1970.
    #[must_use]
    pub fn parse_seconds(text: &str) -> Option<Self> {
        let seconds: f64 = text.trim().parse().ok()?;
        let micros = (seconds * 1e6).floor();
        // The limit is beyond the year 200,000, and far below that of the conversion.
        (1.0..1e19).contains(&micros).then_some(micros as u64).and_then(Self::from_micros)
    }

    /// Returns the µs since 1970.
    #[must_use]
    pub fn micros(self) -> u64 {
        self.0.get()
    }
}

/// A reading of the database's clock.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct ClockReading {
    /// Read before the question was sent.
    pub asked: Mono,
    /// Read after the answer had come.
    pub answered: Mono,
    /// The time that the clock showed in between.
    pub shown: ClockTime,
}

/// The part of this process's time in which the database's clock reaches a time.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Turn {
    /// Before this, the clock has not reached it.
    pub earliest: Mono,
    /// From this on, the clock has reached it.
    pub latest: Mono,
}

impl Turn {
    /// Returns the part of both: each of them contains the true time.
    #[must_use]
    pub fn narrowed(self, other: Option<Self>) -> Self {
        let Some(other) = other else { return self };
        let both = Self {
            earliest: self.earliest.max(other.earliest),
            latest: self.latest.min(other.latest),
        };
        // Readings from before and after the clock was set have nothing in common: the earlier one counts.
        if both.earliest <= both.latest { both } else { self.min(other) }
    }

    fn min(self, other: Self) -> Self {
        if self.earliest <= other.earliest { self } else { other }
    }

    /// Returns whether an entry whose value changes then may be answered as fresh at `now`.
    #[must_use]
    pub fn is_ahead(self, now: Mono) -> bool {
        now < self.earliest || !on(Rule::TurnEndsEntry)
    }
}

impl ClockReading {
    /// Returns when the clock reaches `at`, by this reading.
    #[must_use]
    pub fn turn(self, at: ClockTime) -> Turn {
        let distance = (i128::from(at.micros()) - i128::from(self.shown.micros())) * 1_000;
        let drift = distance.abs() / i128::from(DRIFT);
        let plus = |from: Mono, nanos: i128| {
            let sum = i128::from(from.0) + nanos;
            Mono(u64::try_from(sum.max(0)).unwrap_or(u64::MAX))
        };
        let from = if on(Rule::TurnCountsFromQuestion) { self.asked } else { self.answered };
        Turn {
            earliest: plus(from, distance - drift),
            latest: plus(self.answered, distance + drift),
        }
    }

    /// The width of the turns that it predicts, for a time near `now`.
    fn width(self, now: Mono) -> Duration {
        let since = now.since(self.asked);
        self.answered
            .since(self.asked)
            .saturating_add(since / u32::try_from(DRIFT / 2).unwrap_or(1))
    }
}

/// The clock of one database, by the best of its readings.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct DatabaseClock {
    log: Option<Log>,
    reading: Option<ClockReading>,
}

impl DatabaseClock {
    /// Records a reading of the clock of the server that writes `log`. The first one of another server replaces all
    /// earlier ones, and so does one that shows that the clock was set.
    pub fn record(&mut self, log: Log, reading: ClockReading) {
        let is_same = self.log == Some(log);
        let kept = self.reading.filter(|kept| {
            let turn = kept.turn(reading.shown);
            let agrees = turn.earliest <= reading.answered && reading.asked <= turn.latest;
            is_same && agrees && kept.width(reading.answered) < reading.width(reading.answered)
        });
        self.log = Some(log);
        self.reading = kept.or(Some(reading));
    }

    /// Returns when the clock reaches `at`; `None`: no reading is known.
    #[must_use]
    pub fn turn(&self, at: ClockTime) -> Option<Turn> {
        self.reading.map(|reading| reading.turn(at))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const LOG: Log = Log { system: 1, timeline: 1, server: 1 };

    fn time(micros: u64) -> ClockTime {
        ClockTime::from_micros(micros).expect("after 1970")
    }

    fn reading(asked: u64, answered: u64, shown: u64) -> ClockReading {
        ClockReading { asked: Mono(asked), answered: Mono(answered), shown: time(shown) }
    }

    #[test]
    fn turn_is_as_wide_as_the_question_and_the_drift() {
        // Two seconds ahead.
        let turn = reading(10 * SECOND, 10 * SECOND + 7_000, 5_000_000).turn(time(7_000_000));
        assert_eq!(turn.earliest, Mono(12 * SECOND - 1_000_000));
        assert_eq!(turn.latest, Mono(12 * SECOND + 7_000 + 1_000_000));
        assert!(turn.is_ahead(Mono(12 * SECOND - 1_000_001)));
        assert!(!turn.is_ahead(Mono(12 * SECOND - 1_000_000)));
    }

    #[test]
    fn seconds_are_parsed_as_databases_write_them() {
        let micros = |text| ClockTime::parse_seconds(text).map(ClockTime::micros);
        assert_eq!(micros("1764532800"), Some(1_764_532_800_000_000));
        assert_eq!(micros("1764532800.250000"), Some(1_764_532_800_250_000));
        assert_eq!(micros("1.7645328e9"), Some(1_764_532_800_000_000));
        for none in ["", "2025-11-30 20:00:00", "0", "-5", "inf", "NaN", "1e300"] {
            assert_eq!(micros(none), None, "{none:?}");
        }
    }

    #[test]
    fn times_at_the_limits_saturate() {
        let late = reading(u64::MAX, u64::MAX, 1).turn(time(u64::MAX));
        assert_eq!(late.earliest, Mono(u64::MAX));
        let early = reading(0, 0, u64::MAX).turn(time(1));
        assert_eq!(early.latest, Mono(0), "it has passed");
    }

    #[test]
    fn better_reading_is_kept_until_drift_widens_it() {
        let mut clock = DatabaseClock::default();
        assert_eq!(clock.turn(time(9)), None);
        let (good, slow) =
            (reading(0, 1_000, 5_000_000), reading(SECOND, SECOND + 9_000_000, 6_004_000));
        clock.record(LOG, good);
        clock.record(LOG, slow);
        assert_eq!(clock.reading, Some(good));
        let later = reading(60 * SECOND, 60 * SECOND + 9_000_000, 65_004_000);
        clock.record(LOG, later);
        assert_eq!(clock.reading, Some(later));
    }

    #[test]
    fn set_clock_and_other_server_replace_the_reading() {
        let mut clock = DatabaseClock::default();
        clock.record(LOG, reading(0, 1_000, 5_000_000));
        let set = reading(SECOND, SECOND + 9_000_000, 3_600_000_000);
        clock.record(LOG, set);
        assert_eq!(clock.reading, Some(set), "the clock was set by an hour");
        let other = reading(2 * SECOND, 2 * SECOND + 90_000_000, 3_601_050_000);
        clock.record(Log { timeline: 2, ..LOG }, other);
        assert_eq!(clock.reading, Some(other));
    }

    #[test]
    fn readings_without_a_common_part_count_as_the_earlier_one() {
        let turn = |earliest, latest| Turn { earliest: Mono(earliest), latest: Mono(latest) };
        assert_eq!(turn(5, 9).narrowed(Some(turn(7, 12))), turn(7, 9));
        assert_eq!(turn(5, 9).narrowed(Some(turn(11, 12))), turn(5, 9));
        assert_eq!(turn(11, 12).narrowed(Some(turn(5, 9))), turn(5, 9));
        assert_eq!(turn(5, 9).narrowed(None), turn(5, 9));
    }

    proptest! {
        /// The true time lies in the turn, for every rate within the drift and each place of the reading between
        /// question and answer.
        #[test]
        fn turn_contains_the_truth(
            ppm in -499_i64..=499,
            before in 0_u64..50_000_000,
            after in 0_u64..50_000_000,
            ahead in 0_i64..86_400_000_000,
        ) {
            let read_at = 1_000 * SECOND;
            let shown = 1_800_000_000_000_000_u64;
            let turn = reading(read_at - before, read_at + after, shown)
                .turn(time(shown + ahead as u64));
            // The database's clock runs by that much faster.
            let own = (ahead as f64) * 1_000.0 / (1.0 + ppm as f64 / 1e6);
            let truth = read_at as f64 + own;
            prop_assert!(turn.earliest.0 as f64 <= truth + 1.0);
            prop_assert!(turn.latest.0 as f64 >= truth - 1.0);
        }
    }
}
