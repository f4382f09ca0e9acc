//! The pace at which a node samples the log's end.
//!
//! A bound is never smaller than the age of the sample that proves it. So samples are frequent while each
//! one proves something and the primary answers quickly, and rare otherwise. When a sample is taken has no
//! influence on its proof ([`bound`](crate::bound)).

use std::time::Duration;

/// The part of the time that the answers may take: one of this many.
const ANSWER_SHARE: u32 = 8;

/// The limits of the pause from one sample to the next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SamplePace {
    /// The pause while samples prove the bound.
    pub fastest: Duration,
    /// The pause while they fail or prove nothing, and the longest one while the primary is slow.
    pub slowest: Duration,
}

/// The result of a sample.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SampleResult {
    /// The primary answered in this time, and the sample proves the tiers that have applied its position.
    Proves(Duration),
    /// The sample proves nothing now; the next ones are likely to.
    Pending,
    /// The sample proves nothing, or there was no answer.
    Unproven,
}

impl Default for SamplePace {
    /// Returns 25 to 250 ms: 40 questions a second, and bounds of some 12 ms while the log is quiet.
    fn default() -> Self {
        Self { fastest: Duration::from_millis(25), slowest: Duration::from_millis(250) }
    }
}

impl SamplePace {
    /// Returns a pace that does not change.
    #[must_use]
    pub fn constant(pause: Duration) -> Self {
        Self { fastest: pause, slowest: pause }
    }

    /// Returns the pause from the begin of a sample to that of the next one.
    #[must_use]
    pub fn pause(self, result: SampleResult) -> Duration {
        match result {
            SampleResult::Proves(took) => {
                took.saturating_mul(ANSWER_SHARE).max(self.fastest).min(self.slowest)
            }
            SampleResult::Pending => (self.fastest * 2).min(self.slowest),
            SampleResult::Unproven => self.slowest,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: SamplePace =
        SamplePace { fastest: Duration::from_millis(25), slowest: Duration::from_millis(250) };

    fn after(took_ms: u64) -> u128 {
        PACE.pause(SampleResult::Proves(Duration::from_millis(took_ms))).as_millis()
    }

    #[test]
    fn slow_primary_is_asked_less_often() {
        assert_eq!([0, 3, 10, 30, 1_000].map(after), [25, 25, 80, 240, 250]);
        assert_eq!(PACE.pause(SampleResult::Proves(Duration::MAX)), PACE.slowest);
    }

    #[test]
    fn unproven_samples_are_rare() {
        assert_eq!(PACE.pause(SampleResult::Unproven), PACE.slowest);
        assert_eq!(PACE.pause(SampleResult::Pending), Duration::from_millis(50));
    }

    #[test]
    fn constant_pace_stays() {
        let pace = SamplePace::constant(Duration::from_millis(40));
        for result in [
            SampleResult::Proves(Duration::ZERO),
            SampleResult::Proves(Duration::from_secs(9)),
            SampleResult::Pending,
            SampleResult::Unproven,
        ] {
            assert_eq!(pace.pause(result), Duration::from_millis(40));
        }
    }
}
