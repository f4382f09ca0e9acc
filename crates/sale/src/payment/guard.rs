//! The guard of a provider: its rate limit and a circuit breaker. A call that does not pass was not sent.

use std::sync::Arc;
use std::time::Duration;

use coherence::{BreakerOptions, BreakerPass, CircuitBreaker, Clock, Mono};
use parking_lot::Mutex;

use super::options::{PaymentOptions, ProviderKind};
use super::plain::PlainProvider;
use super::port::{Payment, PaymentProvider, ProviderOutcome, Unknown};
use super::stripe::StripeProvider;
use crate::rules::{Operation, PaymentFacts};

const BREAKER: BreakerOptions = BreakerOptions {
    min_calls: 5,
    failure_share: 0.5,
    open_for: Duration::from_secs(1),
    max_open: Duration::from_secs(30),
    probe_timeout: Duration::from_secs(30),
};

/// The calls that may be made at this moment, refilled at a constant rate; a second's calls at most.
struct RateLimit {
    per_second: f64,
    free: f64,
    at: Mono,
}

impl RateLimit {
    /// Returns the time until a call may be made.
    fn wait(&mut self, now: Mono) -> Duration {
        let refilled = now.since(self.at).as_secs_f64() * self.per_second;
        (self.free, self.at) = ((self.free + refilled).min(self.per_second.max(1.0)), now);
        Duration::from_secs_f64((1.0 - self.free).max(0.0) / self.per_second)
    }
}

/// A provider with its guard.
pub struct GuardedProvider {
    provider: Arc<dyn PaymentProvider>,
    limits: Mutex<(CircuitBreaker, RateLimit)>,
    clock: Arc<dyn Clock>,
    timeout: Duration,
}

/// A call that was not made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NotSent {
    /// The time after which one may be.
    pub wait: Duration,
}

impl GuardedProvider {
    /// Creates the provider of a section of the configuration.
    #[must_use]
    pub fn new(options: &PaymentOptions, clock: Arc<dyn Clock>) -> Self {
        let provider: Arc<dyn PaymentProvider> = match options.kind {
            ProviderKind::Stripe => Arc::new(StripeProvider::new(options)),
            ProviderKind::Http => Arc::new(PlainProvider::new(options)),
        };
        let per_second = f64::from(options.calls_per_second);
        let rate = RateLimit { per_second, free: per_second, at: clock.mono() };
        let limits = Mutex::new((CircuitBreaker::new(BREAKER), rate));
        Self { provider, limits, clock, timeout: options.timeout }
    }

    /// Returns the provider, for questions that no customer waits for.
    #[must_use]
    pub fn unguarded(&self) -> &dyn PaymentProvider {
        &*self.provider
    }

    /// Returns the time limit of a call.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Asks whether a call may be made now. It then has to be made.
    ///
    /// # Errors
    /// [`NotSent`].
    pub fn try_pass(&self) -> Result<CallPass, NotSent> {
        let now = self.clock.mono();
        let (breaker, rate) = &mut *self.limits.lock();
        let wait = rate.wait(now);
        if !wait.is_zero() {
            return Err(NotSent { wait });
        }
        match breaker.try_pass(now) {
            BreakerPass::Refused(wait) | BreakerPass::Probing(wait) => Err(NotSent { wait }),
            pass => {
                rate.free -= 1.0;
                Ok(CallPass(pass))
            }
        }
    }

    /// Takes one of the calls that may be made now, for a call that follows soon. Returns false where none is free or
    /// the breaker is not closed.
    pub fn reserve(&self) -> bool {
        let (breaker, rate) = &mut *self.limits.lock();
        let is_free = breaker.level() == 0 && rate.wait(self.clock.mono()).is_zero();
        if is_free {
            rate.free -= 1.0;
        }
        is_free
    }

    /// Gives a reserved call back that is not made.
    pub fn give_back(&self) {
        self.limits.lock().1.free += 1.0;
    }

    /// Returns the right to the reserved call.
    pub fn reserved_pass(&self) -> CallPass {
        CallPass(BreakerPass::Free)
    }

    fn observe(&self, CallPass(pass): CallPass, answered: bool) {
        self.limits.lock().0.record(self.clock.mono(), pass, answered);
    }

    /// Executes an operation.
    pub async fn execute(
        &self,
        pass: CallPass,
        operation: Operation,
        payment: &Payment<'_>,
    ) -> ProviderOutcome {
        let outcome = self.provider.execute(operation, payment).await;
        self.observe(pass, !matches!(outcome, ProviderOutcome::Unknown(_)));
        outcome
    }

    /// Reads the provider's record of a payment.
    ///
    /// # Errors
    /// The provider gave no answer, or one that can't be read.
    pub async fn look_up(&self, pass: CallPass, reference: &str) -> Result<PaymentFacts, Unknown> {
        let found = self.provider.look_up(reference).await;
        self.observe(pass, found.is_ok());
        found
    }
}

/// The right to one call.
#[derive(Debug)]
pub struct CallPass(BreakerPass);

#[cfg(test)]
mod tests {
    use super::*;

    struct StoppedClock;

    impl Clock for StoppedClock {
        fn mono(&self) -> Mono {
            Mono(0)
        }

        fn wall_ms(&self) -> u64 {
            0
        }
    }

    fn guard(calls_per_second: u32) -> GuardedProvider {
        let options = PaymentOptions {
            kind: ProviderKind::Http,
            url: "http://127.0.0.1:9".parse().expect("a URL"),
            key_file: "key".into(),
            webhook_secret_file: None,
            timeout: Duration::from_secs(1),
            calls_per_second,
        };
        GuardedProvider::new(&options, Arc::new(StoppedClock))
    }

    #[test]
    fn reserved_calls_are_within_the_limit() {
        let guard = guard(2);
        assert!(guard.reserve() && guard.reserve() && !guard.reserve());
        assert!(guard.try_pass().is_err());
        guard.give_back();
        assert!(guard.try_pass().is_ok());
    }

    #[test]
    fn open_breaker_reserves_nothing() {
        let guard = guard(100);
        for _ in 0..BREAKER.min_calls {
            let pass = guard.try_pass().expect("closed");
            guard.observe(pass, false);
        }
        assert!(!guard.reserve());
    }
}
