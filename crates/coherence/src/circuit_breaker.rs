//! A circuit breaker.
//!
//! While closed, it counts the last calls. When too many of them failed or were too slow, it opens: no call
//! passes for a while. Then it is half open: one call passes as a probe. If the probe succeeds, the breaker
//! closes; if not, it opens again for twice as long.

use std::time::Duration;

use crate::clock::Mono;

/// When a circuit breaker opens, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct BreakerOptions {
    /// The number of calls below which it stays closed.
    pub min_calls: u32,
    /// It opens when at least this share of the last 32 calls failed.
    pub failure_share: f64,
    /// The time that it stays open at first.
    pub open_for: Duration,
    /// The maximum time that it stays open.
    pub max_open: Duration,
    /// A probe without an outcome for this long is given up, and another call passes.
    pub probe_timeout: Duration,
}

/// The number of calls that are counted; the documentation of [`BreakerOptions::failure_share`] names it.
const WINDOW: u32 = 32;

/// The breaker's decision about a call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BreakerPass {
    /// The call passes.
    Free,
    /// The call passes, and its outcome closes or opens the breaker.
    Probe,
    /// The call does not pass; another one may after this time.
    Refused(Duration),
    /// The call does not pass yet: the outcome of a probe decides, which is due within this time.
    Probing(Duration),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Closed,
    Open { until: Mono },
    HalfOpen { probing_since: Mono },
}

/// The state machine of a circuit breaker.
#[derive(Clone, Debug)]
pub struct CircuitBreaker {
    options: BreakerOptions,
    state: State,
    /// The last calls, newest in the lowest bit; 1 is a failure.
    calls: u32,
    counted: u32,
    open_for: Duration,
}

impl CircuitBreaker {
    /// Creates a closed breaker.
    #[must_use]
    pub fn new(options: BreakerOptions) -> Self {
        let open_for = options.open_for;
        Self { options, state: State::Closed, calls: 0, counted: 0, open_for }
    }

    /// Decides about a call at `now`.
    pub fn try_pass(&mut self, now: Mono) -> BreakerPass {
        match self.state {
            State::Closed => BreakerPass::Free,
            State::Open { until } if now < until => BreakerPass::Refused(until.since(now)),
            State::HalfOpen { probing_since }
                if now.since(probing_since) < self.options.probe_timeout =>
            {
                let left = self.options.probe_timeout.saturating_sub(now.since(probing_since));
                BreakerPass::Probing(left)
            }
            State::Open { .. } | State::HalfOpen { .. } => {
                self.state = State::HalfOpen { probing_since: now };
                BreakerPass::Probe
            }
        }
    }

    /// Records the outcome of a call that has passed.
    pub fn record(&mut self, now: Mono, pass: BreakerPass, good: bool) {
        match (self.state, pass) {
            (State::HalfOpen { .. }, BreakerPass::Probe) if good => {
                self.state = State::Closed;
                self.calls = 0;
                self.counted = 0;
                self.open_for = self.options.open_for;
            }
            (State::HalfOpen { .. }, BreakerPass::Probe) => {
                self.open_for = (self.open_for * 2).min(self.options.max_open);
                self.state = State::Open { until: now + self.open_for };
            }
            (State::Closed, _) => self.count(now, good),
            // A call that passed before it opened is no new information.
            _ => {}
        }
    }

    fn count(&mut self, now: Mono, good: bool) {
        self.calls = self.calls << 1 | u32::from(!good);
        self.counted = (self.counted + 1).min(WINDOW);
        let seen = if self.counted == WINDOW { u32::MAX } else { (1 << self.counted) - 1 };
        let failures = (self.calls & seen).count_ones();
        let too_many = f64::from(failures) >= self.options.failure_share * f64::from(self.counted);
        if !good && self.counted >= self.options.min_calls && too_many {
            self.state = State::Open { until: now + self.open_for };
        }
    }

    /// Returns whether it is closed and no call that it counts has failed.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.state == State::Closed && self.calls == 0
    }

    /// Returns the state as a number: 0 closed, 1 half open, 2 open.
    #[must_use]
    pub fn level(&self) -> i64 {
        match self.state {
            State::Closed => 0,
            State::HalfOpen { .. } => 1,
            State::Open { .. } => 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: BreakerOptions = BreakerOptions {
        min_calls: 4,
        failure_share: 0.5,
        open_for: Duration::from_nanos(100),
        max_open: Duration::from_nanos(300),
        probe_timeout: Duration::from_nanos(50),
    };

    fn opened() -> CircuitBreaker {
        let mut breaker = CircuitBreaker::new(OPTIONS);
        for _ in 0..4 {
            let pass = breaker.try_pass(Mono(0));
            assert_eq!(pass, BreakerPass::Free);
            breaker.record(Mono(0), pass, false);
        }
        breaker
    }

    #[test]
    fn opens_at_half_failed_calls() {
        let mut breaker = CircuitBreaker::new(OPTIONS);
        for good in [true, false, true, true, false, false] {
            let pass = breaker.try_pass(Mono(0));
            assert_eq!(pass, BreakerPass::Free, "open too early");
            breaker.record(Mono(0), pass, good);
        }
        assert_eq!(breaker.try_pass(Mono(1)), BreakerPass::Refused(Duration::from_nanos(99)));
    }

    #[test]
    fn half_open_admits_one_probe() {
        let mut breaker = opened();
        assert_eq!(breaker.try_pass(Mono(100)), BreakerPass::Probe);
        assert_eq!(breaker.try_pass(Mono(101)), BreakerPass::Probing(Duration::from_nanos(49)));
        breaker.record(Mono(110), BreakerPass::Probe, true);
        assert_eq!(breaker.try_pass(Mono(111)), BreakerPass::Free);
        breaker.record(Mono(111), BreakerPass::Free, false);
        assert_eq!(breaker.try_pass(Mono(112)), BreakerPass::Free, "closing resets the counts");
    }

    #[test]
    fn failed_probe_doubles_open_time_to_max() {
        let mut breaker = opened();
        let mut now = 100;
        for open_for in [200, 300, 300] {
            assert_eq!(breaker.try_pass(Mono(now)), BreakerPass::Probe);
            breaker.record(Mono(now), BreakerPass::Probe, false);
            assert_eq!(
                breaker.try_pass(Mono(now)),
                BreakerPass::Refused(Duration::from_nanos(open_for))
            );
            now += open_for;
        }
    }

    #[test]
    fn lost_probe_replaced_after_timeout() {
        let mut breaker = opened();
        assert_eq!(breaker.try_pass(Mono(100)), BreakerPass::Probe);
        assert_eq!(breaker.try_pass(Mono(150)), BreakerPass::Probe);
    }

    #[test]
    fn late_result_keeps_it_open() {
        let mut breaker = opened();
        breaker.record(Mono(1), BreakerPass::Free, true);
        assert!(matches!(breaker.try_pass(Mono(2)), BreakerPass::Refused(_)));
    }
}
