//! The guard of the shared tier: a short timeout and a circuit breaker. A shared tier that fails costs speed,
//! never an answer.

use std::sync::Arc;
use std::time::Duration;

use coherence::Clock;
use parking_lot::Mutex;
use redis_transport::timeout_with_grace;

use crate::engine::metrics::Metrics;
use crate::shared::{SharedTier, TierError};
use coherence::{BreakerOptions, BreakerPass, CircuitBreaker};

/// When the shared tier's circuit breaker opens.
const BREAKER: BreakerOptions = BreakerOptions {
    min_calls: 5,
    failure_share: 0.5,
    open_for: Duration::from_millis(250),
    max_open: Duration::from_secs(5),
    probe_timeout: Duration::from_secs(1),
};

/// The guarded shared tier.
pub(crate) struct GuardedTier {
    pub(crate) tier: Arc<dyn SharedTier>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    timeout: Duration,
    name: Arc<str>,
    breaker: Mutex<CircuitBreaker>,
}

impl GuardedTier {
    pub(crate) fn new(
        tier: Arc<dyn SharedTier>,
        timeout: Duration,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
    ) -> Self {
        let breaker = Mutex::new(CircuitBreaker::new(BREAKER));
        Self { tier, clock, metrics, timeout, name: "shared".into(), breaker }
    }

    /// Makes a call, unless the circuit breaker is open. Returns `None` if there is no answer.
    pub(crate) async fn call<T>(
        &self,
        call: impl Future<Output = Result<T, TierError>>,
    ) -> Option<T> {
        let pass = self.breaker.lock().try_pass(self.clock.mono());
        if let BreakerPass::Refused(_) | BreakerPass::Probing(_) = pass {
            self.metrics.shared_error("breaker");
            return None;
        }
        let outcome = timeout_with_grace(self.timeout, call).await;
        let outcome = outcome.unwrap_or(Err(TierError::Timeout(self.timeout)));
        // A malformed entry under one key is the answer of a tier that works, and so is one that has no memory for it.
        let good = matches!(outcome, Ok(_) | Err(TierError::Malformed(_) | TierError::Full(_)));
        {
            let mut breaker = self.breaker.lock();
            breaker.record(self.clock.mono(), pass, good);
            self.metrics.breaker(&self.name, breaker.level());
        }
        match outcome {
            Ok(answer) => Some(answer),
            Err(err) => {
                self.metrics.shared_error(kind(&err));
                tracing::debug!(error = %err, "call to the shared tier failed; going on without it");
                None
            }
        }
    }
}

fn kind(err: &TierError) -> &'static str {
    match err {
        TierError::Timeout(_) => "timeout",
        TierError::Unavailable(_) => "unavailable",
        TierError::Full(_) => "full",
        TierError::Malformed(_) => "malformed",
        TierError::Unsuitable(_) => "unsuitable",
        TierError::Claimed { .. } => "claimed",
    }
}
