//! The arithmetic of staleness: budgets, bounds and TTLs.
//!
//! Times are nanoseconds of one monotonic clock, and randomness is a number that the caller has drawn:
//! no function here reads a clock or draws a random number.

use std::time::Duration;

use crate::model::contract::{Contract, Unproven};

/// The maximum TTL, except for immutable content: no entry outlives a lost invalidation by more than a
/// week.
pub const TTL_CAP: Duration = Duration::from_secs(7 * 24 * 3600);

/// Returns the default TTL for a budget: the budget itself for entries that never change or whose uses
/// restart the TTL (`exact`), otherwise twice the budget, at most [`TTL_CAP`].
pub(crate) fn default_ttl(staleness: Duration, exact: bool) -> Duration {
    if exact { staleness } else { staleness.saturating_mul(2).min(TTL_CAP) }
}

/// Returns whether the calling reader should renew an entry now, before it expires.
///
/// Optimal probabilistic early expiration (Vattani, Chierichetti, Lowenstein: *Optimal
/// Probabilistic Cache Stampede Prevention*, VLDB 2015): renew when `now − Δ·β·ln u ≥ expires`. Each
/// reader decides independently. The probability grows with the cost of the load and the nearness of
/// the expiry.
///
/// - `now_ns`, `expires_ns`: nanoseconds of the same monotonic clock.
/// - `delta_ns`: duration of the last load (Δ).
/// - `beta`: eagerness; 1 is the paper's optimum, 0 disables early refresh.
/// - `u`: uniform in (0, 1]. Values outside are clamped.
pub fn xfetch_due(now_ns: u64, expires_ns: u64, delta_ns: u64, beta: f64, u: f64) -> bool {
    if now_ns >= expires_ns {
        return true;
    }
    if beta.is_nan() || beta <= 0.0 {
        return false;
    }
    let u = if u > 0.0 { u.min(1.0) } else { f64::MIN_POSITIVE };
    let early_ns = delta_ns as f64 * beta * -u.ln();
    // Nanoseconds beyond 2^53 lose their last digits here, which is irrelevant for a refresh.
    early_ns > 0.0 && early_ns >= (expires_ns - now_ns) as f64
}

/// Returns `ttl` spread by ±`ratio`: with `u` uniform in [0, 1] the result is uniform in
/// `ttl · [1 − ratio, 1 + ratio]`, so that entries stored together don't expire together.
pub fn jittered(ttl: Duration, u: f64, ratio: f64) -> Duration {
    let ratio = ratio.clamp(0.0, 1.0);
    let factor = 1.0 + ratio * (2.0 * u.clamp(0.0, 1.0) - 1.0);
    Duration::try_from_secs_f64(ttl.as_secs_f64() * factor).unwrap_or(ttl)
}

/// Returns the rest of a budget under a bound: how much longer an answer may be used or its refresh
/// delayed. `None` when the bound exceeds the budget; then the contract's `unproven` rule applies.
pub fn remaining(budget: Duration, bound: Duration) -> Option<Duration> {
    budget.checked_sub(bound)
}

/// Returns the maximum staleness of an answer when invalidations are lost and no bound fences. Each
/// tier may be filled from the tier below just before the entry there expires, so the TTLs add up, each
/// with its jitter, plus one window of stale-while-revalidate.
pub fn worst_case_unfenced(tiers: u32, ttl: Duration, jitter: f64, stale: Duration) -> Duration {
    jittered(ttl, 1.0, jitter).saturating_mul(tiers).saturating_add(stale)
}

impl Contract {
    /// Returns the default TTL: the budget for immutable and sliding entries, otherwise twice the
    /// budget, at most [`TTL_CAP`].
    pub fn default_ttl(&self) -> Duration {
        default_ttl(self.staleness, self.immutable || self.sliding)
    }

    /// Returns the maximum lifetime of an entry after its load if its uses keep restarting the TTL.
    /// `None`: uses don't restart it. [`Duration::MAX`]: unlimited.
    ///
    /// `retention` always limits it. Without `from`, age is the only evidence of freshness, so the
    /// budget limits it too.
    pub fn max_lifetime(&self) -> Option<Duration> {
        let has_other_evidence = self.from.is_some() || self.immutable;
        let by_age = if has_other_evidence { Duration::MAX } else { self.staleness };
        self.sliding.then(|| self.retention.unwrap_or(Duration::MAX).min(by_age))
    }

    /// Returns the staleness of an answer of this contract in the worst case.
    ///
    /// `read-origin` and `fail` are fenced: beyond the budget, the bound disqualifies the entry, so the
    /// TTLs don't matter. `serve-stale` answers even then; with the feed away and each tier filled from
    /// another just before the entry there expired, the result is [`worst_case_unfenced`].
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
    fn expired_entry_is_due() {
        assert!(xfetch_due(10, 10, 0, 0.0, 1.0));
        assert!(xfetch_due(11, 10, 0, 1.0, 1.0));
    }

    #[test]
    fn costly_load_is_due_earlier() {
        // −ln u is 1 at u = 1/e: due exactly Δ·β before the end.
        let u = std::f64::consts::E.recip() * 0.999_999;
        let due = |left: u64, delta: u64, beta: f64| {
            xfetch_due(100 * SECOND - left, 100 * SECOND, delta, beta, u)
        };
        assert!(due(SECOND, SECOND, 1.0));
        assert!(!due(2 * SECOND, SECOND, 1.0));
        assert!(due(2 * SECOND, SECOND, 2.0));
        assert!(due(2 * SECOND, 2 * SECOND, 1.0));
        assert!(!due(1, SECOND, 0.0), "β = 0 disables it");
        assert!(!xfetch_due(0, 1, SECOND, 1.0, 1.0), "u = 1 is never early");
    }

    #[test]
    fn draws_outside_range_are_clamped() {
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
    fn jitter_is_symmetric_around_ttl() {
        let ttl = Duration::from_secs(100);
        assert_eq!(jittered(ttl, 0.0, 0.1), Duration::from_secs(90));
        assert_eq!(jittered(ttl, 0.5, 0.1), ttl);
        assert_eq!(jittered(ttl, 1.0, 0.1), Duration::from_secs(110));
        assert_eq!(jittered(Duration::MAX, 1.0, 0.5), Duration::MAX);
    }

    #[test]
    fn bound_reduces_budget() {
        let budget = Duration::from_millis(1000);
        assert_eq!(remaining(budget, Duration::from_millis(400)), Some(Duration::from_millis(600)));
        assert_eq!(remaining(budget, budget), Some(Duration::ZERO));
        assert_eq!(remaining(budget, Duration::from_millis(1001)), None);
    }
}
