//! The storm governor: how much of its budget a contract may spend on marked entries, given how hard
//! pressed an origin is.
//!
//! An event-driven cache dies when changes come faster than refills. Within a contract's budget an
//! invalidation may wait, and merge with later ones: a [marked](crate::soft) entry goes on being
//! served, and is loaded again once in a window instead of once per change. The window is a share of
//! the budget, the *spend*: 0 while the origin has time (every change costs its refill at once),
//! rising quickly under pressure, falling slowly, and never the whole budget, so that a refill that
//! is due has time to be made.
//!
//! A state machine without a clock: time is an argument.

use std::time::Duration;

use crate::clock::Mono;

/// The largest share of a budget that is ever spent.
pub const SPEND_MOST: f64 = 0.9;

/// From nothing to all takes so long under full pressure.
const RISE: Duration = Duration::from_millis(250);

/// One observation counts for at most this much time: what was seen once says little about the time
/// before it.
const STEP_MOST: Duration = Duration::from_millis(50);

/// The spend is halved in this time without pressure.
const HALVED_IN: Duration = Duration::from_secs(3);

/// Less than this is nothing.
const NOTHING: f64 = 0.01;

/// An origin with this share of its places taken is not pressed at all.
const CALM_FULLNESS: f64 = 0.5;

/// Loads may take so many times as long as usual before that counts.
const CALM_SLOWNESS: f64 = 2.0;

/// Refreshes are spread over this part of a window, up to its end.
const SPREAD: f64 = 0.6;

/// How an origin is doing, as seen at its gate.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Load {
    /// Loads under way.
    pub under_way: usize,
    /// How many may be.
    pub limit: usize,
    /// Loads that wait to be let in.
    pub waiting: usize,
    /// How long the last one took, in times of the usual; 0: not known.
    pub slowness: f64,
    /// A load was turned away, timed out, or failed as they do under load.
    pub turned_away: bool,
}

impl Load {
    /// How hard pressed it is: 0 to 1.
    #[must_use]
    pub fn pressure(&self) -> f64 {
        if self.turned_away {
            return 1.0;
        }
        let limit = self.limit.max(1) as f64;
        let taken = self.under_way as f64 / limit;
        let fullness = (taken - CALM_FULLNESS) / (1.0 - CALM_FULLNESS);
        // As many waiting as may be under way: each waits for a whole load before its own.
        let queue = self.waiting as f64 / limit;
        // Slowness alone is no storm, and of an origin that has little to do it says nothing: one load
        // that took long, or something else that keeps it busy.
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
    /// What the gate sees at `now`.
    pub fn observe(&mut self, now: Mono, load: Load) {
        let aim = SPEND_MOST * load.pressure();
        let faded = self.spend(now);
        let passed = now.since(self.at).min(STEP_MOST).as_secs_f64();
        self.at = self.at.max(now);
        self.spend = if aim > faded {
            // Somebody who is turned away need not be told twice.
            let passed = if load.turned_away { STEP_MOST.as_secs_f64() } else { passed };
            (faded + SPEND_MOST * passed / RISE.as_secs_f64()).min(aim)
        } else {
            faded
        };
    }

    /// The share of each budget that may be spent at `now`: 0 to [`SPEND_MOST`].
    #[must_use]
    pub fn spend(&self, now: Mono) -> f64 {
        let passed = now.since(self.at).as_secs_f64();
        let spend = self.spend * (-passed / HALVED_IN.as_secs_f64()).exp2();
        if spend < NOTHING { 0.0 } else { spend.min(SPEND_MOST) }
    }
}

/// What may be done with a marked entry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Use {
    /// It is served.
    Serve {
        /// It is time to load it again.
        refresh: bool,
    },
    /// It counts as absent.
    Miss,
}

/// How old an answer may get under this spend.
#[must_use]
pub fn window(budget: Duration, spend: f64) -> Duration {
    let share = if spend.is_finite() { spend.clamp(0.0, SPEND_MOST) } else { 0.0 };
    budget.mul_f64(share).min(budget)
}

/// What may be done at `now` with a marked entry that is proven as of `as_of`. `lot` in [0, 1] is
/// the entry's own: entries that were marked together draw different ones, so that their refreshes
/// spread over the window.
#[must_use]
pub fn use_of(as_of: Mono, now: Mono, budget: Duration, spend: f64, lot: f64) -> Use {
    let window = window(budget, spend);
    let age = now.since(as_of);
    if window.is_zero() || age > window {
        return Use::Miss;
    }
    let lot = if lot.is_finite() { lot.clamp(0.0, 1.0) } else { 0.0 };
    // The latest of them leaves a tenth of the window for the load.
    let due = window.mul_f64(1.0 - SPREAD + (SPREAD - 0.1) * lot);
    Use::Serve { refresh: age >= due }
}

/// When a refresh that came to nothing is tried again.
#[must_use]
pub fn again_after(budget: Duration) -> Duration {
    (budget / 16).max(Duration::from_millis(20))
}

#[cfg(test)]
#[path = "governor_tests.rs"]
mod tests;
