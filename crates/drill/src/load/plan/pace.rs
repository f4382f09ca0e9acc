//! The arrival rate of requests.

use std::time::Duration;

/// Requests per second over time, as a sine around a mean.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// Mean requests per second.
    pub rate: f64,
    /// Period of the sine. A real shop's load varies over a day; a short run compresses that into
    /// its own length.
    pub period: Duration,
    /// Amplitude as a share of the mean: 0.3 varies the rate between 0.7 and 1.3 of the mean.
    pub amplitude: f64,
}

impl Pace {
    /// Returns a pace of `rate` requests per second, varying by 30 % with a period of 20 s.
    pub fn of(rate: f64) -> Self {
        Self { rate, period: Duration::from_secs(20), amplitude: 0.3 }
    }

    /// Returns a constant pace of `rate` requests per second.
    pub fn steady(rate: f64) -> Self {
        Self { amplitude: 0.0, ..Self::of(rate) }
    }

    /// Returns the requests per second at `at`.
    pub(crate) fn at(&self, at: Duration) -> f64 {
        let turns = at.as_secs_f64() / self.period.as_secs_f64().max(0.001);
        self.rate * (1.0 + self.amplitude * (turns * std::f64::consts::TAU).sin())
    }
}
