//! How fast requests arrive.

use std::time::Duration;

/// Requests per second over time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// Mean requests per second.
    pub rate: f64,
    /// How long one swing between quiet and busy takes. Real shops swing over a day; a short run
    /// swings within it.
    pub swing: Duration,
    /// How far it swings: 0.3 means from 0.7 to 1.3 of the mean.
    pub depth: f64,
}

impl Pace {
    /// `rate` requests per second, swinging by 30 % over 20 s.
    pub fn of(rate: f64) -> Self {
        Self { rate, swing: Duration::from_secs(20), depth: 0.3 }
    }

    /// `rate` requests per second throughout.
    pub fn steady(rate: f64) -> Self {
        Self { depth: 0.0, ..Self::of(rate) }
    }

    /// Requests per second at `at`.
    pub(crate) fn at(&self, at: Duration) -> f64 {
        let turns = at.as_secs_f64() / self.swing.as_secs_f64().max(0.001);
        self.rate * (1.0 + self.depth * (turns * std::f64::consts::TAU).sin())
    }
}
