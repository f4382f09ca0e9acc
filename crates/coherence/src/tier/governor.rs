//! The governor: the share of its budget that a contract may spend on soft-stale entries, given the
//! pressure on an origin.
//!
//! An event-driven cache collapses when changes arrive faster than refills. Within a contract's budget
//! an invalidation may wait and merge with later ones: a [soft-stale](crate::soft) entry is still
//! served, and is loaded once per window instead of once per change. The window is a share of the
//! budget, the *spend*: 0 while the origin has capacity (every change is refilled at once), rising
//! quickly under pressure, falling slowly, and never the whole budget, so that a due refill has time to
//! complete.
//!
//! The governor is a state machine without a clock: time is an argument.

use std::time::Duration;

use crate::clock::Mono;

/// The largest share of a budget that may be spent.
pub const MAX_SPEND: f64 = 0.9;

/// The time from zero to the largest spend under full pressure.
const RISE: Duration = Duration::from_millis(250);

/// The longest time that one observation counts for: a single observation says little about the time
/// before it.
const MAX_STEP: Duration = Duration::from_millis(50);

/// The time in which the spend halves without pressure.
const HALF_LIFE: Duration = Duration::from_secs(3);

/// A smaller spend counts as zero.
const MIN_SPEND: f64 = 0.01;

/// Up to this share of its limit, load puts no pressure on an origin.
const CALM_FULLNESS: f64 = 0.5;

/// Loads may take this many times their usual time before slowness counts as pressure.
const CALM_SLOWNESS: f64 = 2.0;

/// Refreshes are spread over this part of a window, up to its end.
const SPREAD: f64 = 0.6;

/// The load of an origin, as seen at its admission gate.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct OriginLoad {
    /// The number of loads in flight.
    pub in_flight: usize,
    /// The largest number of loads in flight.
    pub limit: usize,
    /// The number of loads that wait for admission.
    pub waiting: usize,
    /// The duration of the last load as a multiple of the usual one; 0 if unknown.
    pub slowness: f64,
    /// Whether a load was shed, timed out, or failed in a way that is typical of overload.
    pub overloaded: bool,
}

impl OriginLoad {
    /// Returns the pressure on the origin: 0 to 1.
    #[must_use]
    pub fn pressure(&self) -> f64 {
        if self.overloaded {
            return 1.0;
        }
        let limit = self.limit.max(1) as f64;
        let taken = self.in_flight as f64 / limit;
        let fullness = (taken - CALM_FULLNESS) / (1.0 - CALM_FULLNESS);
        // With as many loads waiting as may be in flight, each waits for one whole load before its own.
        let queue = self.waiting as f64 / limit;
        // Slowness alone is limited pressure. At an origin with little load it says nothing: one load was
        // slow, or the origin is busy with other work.
        let slowness = ((self.slowness - CALM_SLOWNESS) / (4.0 * CALM_SLOWNESS)).min(0.5);
        let busy = (taken / CALM_FULLNESS).min(1.0);
        let pressure = fullness.max(queue).max(slowness * busy);
        if pressure.is_finite() { pressure.clamp(0.0, 1.0) } else { 0.0 }
    }
}

/// One origin's governor.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Governor {
    spend: f64,
    at: Mono,
}

impl Governor {
    /// Records an observation at `now`.
    pub fn observe(&mut self, now: Mono, load: OriginLoad) {
        let aim = MAX_SPEND * load.pressure();
        let faded = self.spend(now);
        let passed = now.since(self.at).min(MAX_STEP).as_secs_f64();
        self.at = self.at.max(now);
        self.spend = if aim > faded {
            // A shed load is a definite sign, so it counts for a whole step.
            let passed = if load.overloaded { MAX_STEP.as_secs_f64() } else { passed };
            (faded + MAX_SPEND * passed / RISE.as_secs_f64()).min(aim)
        } else {
            faded
        };
    }

    /// Returns the share of each budget that may be spent at `now`: 0 to [`MAX_SPEND`].
    #[must_use]
    pub fn spend(&self, now: Mono) -> f64 {
        let passed = now.since(self.at).as_secs_f64();
        let spend = self.spend * (-passed / HALF_LIFE.as_secs_f64()).exp2();
        if spend < MIN_SPEND { 0.0 } else { spend.min(MAX_SPEND) }
    }
}

/// The decision about a soft-stale entry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Decision {
    /// Serve the entry.
    Serve {
        /// Whether it is due to be loaded again.
        refresh: bool,
    },
    /// Treat the entry as absent.
    Miss,
}

/// Returns the largest age of an answer under this spend.
#[must_use]
pub fn window(budget: Duration, spend: f64) -> Duration {
    let share = if spend.is_finite() { spend.clamp(0.0, MAX_SPEND) } else { 0.0 };
    budget.mul_f64(share).min(budget)
}

/// Decides at `now` about a soft-stale entry that is proven as of `as_of`. `jitter` in [0, 1] is the
/// entry's own: entries that were invalidated together draw different values, which spreads their
/// refreshes over the window.
#[must_use]
pub fn decide(as_of: Mono, now: Mono, budget: Duration, spend: f64, jitter: f64) -> Decision {
    let window = window(budget, spend);
    let age = now.since(as_of);
    if window.is_zero() || age > window {
        return Decision::Miss;
    }
    let jitter = if jitter.is_finite() { jitter.clamp(0.0, 1.0) } else { 0.0 };
    // The latest refresh leaves a tenth of the window for its load.
    let due = window.mul_f64(1.0 - SPREAD + (SPREAD - 0.1) * jitter);
    Decision::Serve { refresh: age >= due }
}

/// Returns the pause before a failed refresh is retried.
#[must_use]
pub fn retry_after(budget: Duration) -> Duration {
    (budget / 16).max(Duration::from_millis(20))
}

#[cfg(test)]
#[path = "governor_tests.rs"]
mod tests;
