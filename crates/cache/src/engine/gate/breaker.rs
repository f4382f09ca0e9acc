//! A circuit breaker.
//!
//! Closed, it counts the last calls. When too many of them were bad (failed or too slow) it opens:
//! nothing passes for a while. Then it is half open: one call may try. If that is good it closes,
//! if not it opens again, for twice as long.

use std::time::Duration;

use coherence::Mono;

/// When a breaker opens, and for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BreakerOptions {
    /// Fewer calls than this prove nothing.
    pub(crate) min_calls: u32,
    /// Opens when at least this share of the last [`WINDOW`] calls was bad.
    pub(crate) bad_share: f64,
    /// How long it stays open at first.
    pub(crate) open_for: Duration,
    /// How long it stays open at most.
    pub(crate) open_at_most: Duration,
    /// A probe that has said nothing for this long is given up, and another may try.
    pub(crate) probe_timeout: Duration,
}

/// How many calls are remembered.
pub(crate) const WINDOW: u32 = 32;

/// Whether a call may be made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Pass {
    /// Yes.
    Free,
    /// Yes, and what becomes of it decides.
    Probe,
    /// No; ask again after this.
    Refused(Duration),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Closed,
    Open { until: Mono },
    HalfOpen { probing_since: Mono },
}

/// The state machine.
#[derive(Clone, Debug)]
pub(crate) struct Breaker {
    options: BreakerOptions,
    state: State,
    /// The last calls, newest in the lowest bit; 1 is bad.
    calls: u32,
    counted: u32,
    open_for: Duration,
}

impl Breaker {
    pub(crate) fn new(options: BreakerOptions) -> Self {
        let open_for = options.open_for;
        Self { options, state: State::Closed, calls: 0, counted: 0, open_for }
    }

    /// May a call be made at `now`?
    pub(crate) fn ask(&mut self, now: Mono) -> Pass {
        match self.state {
            State::Closed => Pass::Free,
            State::Open { until } if now < until => Pass::Refused(until.since(now)),
            State::HalfOpen { probing_since }
                if now.since(probing_since) < self.options.probe_timeout =>
            {
                let left = self.options.probe_timeout.saturating_sub(now.since(probing_since));
                Pass::Refused(left)
            }
            State::Open { .. } | State::HalfOpen { .. } => {
                self.state = State::HalfOpen { probing_since: now };
                Pass::Probe
            }
        }
    }

    /// A call that had passed ended.
    pub(crate) fn tell(&mut self, now: Mono, pass: Pass, good: bool) {
        match (self.state, pass) {
            (State::HalfOpen { .. }, Pass::Probe) if good => {
                self.state = State::Closed;
                self.counted = 0;
                self.open_for = self.options.open_for;
            }
            (State::HalfOpen { .. }, Pass::Probe) => {
                self.open_for = (self.open_for * 2).min(self.options.open_at_most);
                self.state = State::Open { until: now + self.open_for };
            }
            (State::Closed, _) => self.count(now, good),
            // Calls from before it opened say nothing new.
            _ => {}
        }
    }

    fn count(&mut self, now: Mono, good: bool) {
        self.calls = self.calls << 1 | u32::from(!good);
        self.counted = (self.counted + 1).min(WINDOW);
        let seen = if self.counted == WINDOW { u32::MAX } else { (1 << self.counted) - 1 };
        let bad = (self.calls & seen).count_ones();
        let too_many = f64::from(bad) >= self.options.bad_share * f64::from(self.counted);
        if !good && self.counted >= self.options.min_calls && too_many {
            self.state = State::Open { until: now + self.open_for };
        }
    }

    /// 0 closed, 1 half open, 2 open.
    pub(crate) fn level(&self) -> i64 {
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
        bad_share: 0.5,
        open_for: Duration::from_nanos(100),
        open_at_most: Duration::from_nanos(300),
        probe_timeout: Duration::from_nanos(50),
    };

    fn opened() -> Breaker {
        let mut breaker = Breaker::new(OPTIONS);
        for _ in 0..4 {
            let pass = breaker.ask(Mono(0));
            assert_eq!(pass, Pass::Free);
            breaker.tell(Mono(0), pass, false);
        }
        breaker
    }

    #[test]
    fn opens_when_half_of_the_last_calls_were_bad() {
        let mut breaker = Breaker::new(OPTIONS);
        for good in [true, false, true, true, false, false] {
            let pass = breaker.ask(Mono(0));
            assert_eq!(pass, Pass::Free, "open too early");
            breaker.tell(Mono(0), pass, good);
        }
        assert_eq!(breaker.ask(Mono(1)), Pass::Refused(Duration::from_nanos(99)));
    }

    #[test]
    fn one_probe_and_no_more() {
        let mut breaker = opened();
        assert_eq!(breaker.ask(Mono(100)), Pass::Probe);
        assert_eq!(breaker.ask(Mono(101)), Pass::Refused(Duration::from_nanos(49)));
        breaker.tell(Mono(110), Pass::Probe, true);
        assert_eq!(breaker.ask(Mono(111)), Pass::Free);
        breaker.tell(Mono(111), Pass::Free, false);
        assert_eq!(breaker.ask(Mono(112)), Pass::Free, "it has forgotten the bad times");
    }

    #[test]
    fn a_bad_probe_opens_it_for_longer_but_not_for_ever() {
        let mut breaker = opened();
        let mut now = 100;
        for open_for in [200, 300, 300] {
            assert_eq!(breaker.ask(Mono(now)), Pass::Probe);
            breaker.tell(Mono(now), Pass::Probe, false);
            assert_eq!(breaker.ask(Mono(now)), Pass::Refused(Duration::from_nanos(open_for)));
            now += open_for;
        }
    }

    #[test]
    fn a_probe_that_never_comes_back_blocks_nobody_for_ever() {
        let mut breaker = opened();
        assert_eq!(breaker.ask(Mono(100)), Pass::Probe);
        assert_eq!(breaker.ask(Mono(150)), Pass::Probe);
    }

    #[test]
    fn late_results_do_not_close_it() {
        let mut breaker = opened();
        breaker.tell(Mono(1), Pass::Free, true);
        assert!(matches!(breaker.ask(Mono(2)), Pass::Refused(_)));
    }
}
