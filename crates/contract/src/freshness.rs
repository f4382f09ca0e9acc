//! The arithmetic of staleness: budgets, bounds and lifetimes.
//!
//! Times are nanoseconds of one monotonic clock, chance is a number that the caller drew: nothing
//! here reads a clock or rolls a die.

use std::time::Duration;

use crate::contract::{Contract, Unproven};
use crate::toml_in::fitting_ttl;

/// Whether an entry should be renewed now, ahead of its end, by the caller that asks.
///
/// Optimal probabilistic early expiration (Vattani, Chierichetti, Lowenstein: *Optimal
/// Probabilistic Cache Stampede Prevention*, VLDB 2015): renew when `now − Δ·β·ln u ≥ expires`. Each
/// reader decides for itself, and the nearer the end and the dearer the load, the likelier one of
/// them does.
///
/// - `now_ns`, `expires_ns`: the same monotonic clock.
/// - `delta_ns`: how long the last load took (Δ).
/// - `beta`: eagerness; 1 is the paper's optimum, 0 turns it off.
/// - `u`: uniform in (0, 1]. Values outside are taken as the nearest inside.
pub fn xfetch_due(now_ns: u64, expires_ns: u64, delta_ns: u64, beta: f64, u: f64) -> bool {
    if now_ns >= expires_ns {
        return true;
    }
    if beta.is_nan() || beta <= 0.0 {
        return false;
    }
    let u = if u > 0.0 { u.min(1.0) } else { f64::MIN_POSITIVE };
    let early_ns = delta_ns as f64 * beta * -u.ln();
    // Nanoseconds beyond 2^53 lose their last digits here, which no refresh notices.
    early_ns > 0.0 && early_ns >= (expires_ns - now_ns) as f64
}

/// `ttl` spread by ±`ratio`: with `u` uniform in [0, 1] the result is uniform in
/// `ttl · [1 − ratio, 1 + ratio]`, so that entries stored together don't end together.
pub fn jittered(ttl: Duration, u: f64, ratio: f64) -> Duration {
    let ratio = ratio.clamp(0.0, 1.0);
    let factor = 1.0 + ratio * (2.0 * u.clamp(0.0, 1.0) - 1.0);
    Duration::try_from_secs_f64(ttl.as_secs_f64() * factor).unwrap_or(ttl)
}

/// What is left of a budget under a bound: how much longer an answer may be used or its refresh
/// delayed. `None` when the bound is worse than the budget, so that the contract's rule applies.
pub fn remaining(budget: Duration, bound: Duration) -> Option<Duration> {
    budget.checked_sub(bound)
}

/// How old the oldest possible answer is when invalidations are lost and no bound fences: every
/// tier may be filled from the tier below it just before that one's entry ends, so lifetimes add
/// up, each with its jitter, and one more window of stale-while-revalidate.
pub fn worst_case_unfenced(tiers: u32, ttl: Duration, jitter: f64, stale: Duration) -> Duration {
    jittered(ttl, 1.0, jitter).saturating_mul(tiers).saturating_add(stale)
}

impl Contract {
    /// The lifetime that fits the budget: as long for entries that never change or live by their
    /// use, twice as long (at most [`TTL_CAP`](crate::TTL_CAP)) otherwise.
    pub fn fitting_ttl(&self) -> Duration {
        fitting_ttl(self.staleness, self.immutable || self.sliding)
    }

    /// How long after its load an entry may live at most if it is used again and again; `None`: its
    /// uses don't prolong its life. [`Duration::MAX`]: as long as it is used.
    ///
    /// `retention` is the end in any case. Where no table feeds the contract nothing but age tells of
    /// staleness, so there the budget is the end, too.
    pub fn longest_life(&self) -> Option<Duration> {
        let told = self.from.is_some() || self.immutable;
        let aged = if told { Duration::MAX } else { self.staleness };
        self.sliding.then(|| self.retention.unwrap_or(Duration::MAX).min(aged))
    }

    /// How old an answer of this contract can get with every part of the system against it.
    ///
    /// `read-origin` and `fail` are fenced: past the budget the bound takes the entry out of use, so
    /// the lifetimes don't matter. `serve-stale` says to answer even so; then a feed that is away
    /// and a tier that is filled from another just before its entry ended give
    /// [`worst_case_unfenced`].
    pub fn worst_case(&self) -> Duration {
        match self.unproven {
            _ if !self.is_cached() => Duration::ZERO,
            Unproven::ReadOrigin | Unproven::Fail => self.staleness,
            Unproven::ServeStale => self.staleness.max(worst_case_unfenced(
                self.tiers.count(),
                self.ttl,
                self.refresh.jitter,
                self.stale_while_revalidate,
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn an_ended_entry_is_always_due() {
        assert!(xfetch_due(10, 10, 0, 0.0, 1.0));
        assert!(xfetch_due(11, 10, 0, 1.0, 1.0));
    }

    #[test]
    fn the_dearer_the_load_and_the_luckier_the_draw_the_earlier_it_is_due() {
        // −ln u is 1 at u = 1/e: due exactly Δ·β before the end.
        let u = std::f64::consts::E.recip() * 0.999_999;
        let due = |left: u64, delta: u64, beta: f64| {
            xfetch_due(100 * SECOND - left, 100 * SECOND, delta, beta, u)
        };
        assert!(due(SECOND, SECOND, 1.0));
        assert!(!due(2 * SECOND, SECOND, 1.0));
        assert!(due(2 * SECOND, SECOND, 2.0));
        assert!(due(2 * SECOND, 2 * SECOND, 1.0));
        assert!(!due(1, SECOND, 0.0), "β = 0 turns it off");
        assert!(!xfetch_due(0, 1, SECOND, 1.0, 1.0), "u = 1 is never early");
    }

    #[test]
    fn odd_draws_are_taken_as_the_nearest_sane_ones() {
        for u in [f64::NAN, -1.0, 0.0, 2.0, f64::INFINITY] {
            let _ = xfetch_due(0, SECOND, SECOND, 1.0, u);
            let ttl = jittered(Duration::from_secs(10), u, 0.1);
            assert!(
                ttl >= Duration::from_secs(9) && ttl <= Duration::from_secs(11),
                "{u}: {ttl:?}"
            );
        }
        assert!(!xfetch_due(0, SECOND, SECOND, f64::NAN, 0.5));
    }

    #[test]
    fn jitter_spreads_evenly_around_the_lifetime() {
        let ttl = Duration::from_secs(100);
        assert_eq!(jittered(ttl, 0.0, 0.1), Duration::from_secs(90));
        assert_eq!(jittered(ttl, 0.5, 0.1), ttl);
        assert_eq!(jittered(ttl, 1.0, 0.1), Duration::from_secs(110));
        assert_eq!(jittered(Duration::MAX, 1.0, 0.5), Duration::MAX);
    }

    #[test]
    fn a_budget_is_spent_by_the_bound() {
        let budget = Duration::from_millis(1000);
        assert_eq!(remaining(budget, Duration::from_millis(400)), Some(Duration::from_millis(600)));
        assert_eq!(remaining(budget, budget), Some(Duration::ZERO));
        assert_eq!(remaining(budget, Duration::from_millis(1001)), None);
    }
}
