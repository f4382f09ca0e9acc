//! The way to the shared tier: short time limit, breaker. A shared tier that fails costs speed,
//! never an answer.

use std::sync::Arc;
use std::time::Duration;

use coherence::Clock;
use parking_lot::Mutex;

use super::gate::{Breaker, BreakerOptions, Pass};
use super::metrics::Metrics;
use crate::patience::in_time;
use crate::shared::{SharedTier, TierError};

/// When the shared tier is left alone.
const BREAKER: BreakerOptions = BreakerOptions {
    min_calls: 5,
    bad_share: 0.5,
    open_for: Duration::from_millis(250),
    open_at_most: Duration::from_secs(5),
    probe_timeout: Duration::from_secs(1),
};

/// The guarded shared tier.
pub(super) struct Port {
    pub(super) tier: Arc<dyn SharedTier>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    timeout: Duration,
    name: Arc<str>,
    breaker: Mutex<Breaker>,
}

impl Port {
    pub(super) fn new(
        tier: Arc<dyn SharedTier>,
        timeout: Duration,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
    ) -> Self {
        let breaker = Mutex::new(Breaker::new(BREAKER));
        Self { tier, clock, metrics, timeout, name: "shared".into(), breaker }
    }

    /// Makes a call, or does not; `None` whenever there is no answer.
    pub(super) async fn call<T>(
        &self,
        call: impl Future<Output = Result<T, TierError>>,
    ) -> Option<T> {
        let pass = self.breaker.lock().ask(self.clock.mono());
        if let Pass::Refused(_) = pass {
            self.metrics.shared_error("breaker");
            return None;
        }
        let outcome = in_time(self.timeout, call).await;
        let outcome = outcome.unwrap_or(Err(TierError::Timeout(self.timeout)));
        // Rubbish under one key is an answer of a tier that works.
        let good = matches!(outcome, Ok(_) | Err(TierError::Malformed(_)));
        {
            let mut breaker = self.breaker.lock();
            breaker.tell(self.clock.mono(), pass, good);
            self.metrics.breaker(&self.name, breaker.level());
        }
        match outcome {
            Ok(answer) => Some(answer),
            Err(err) => {
                self.metrics.shared_error(kind(&err));
                tracing::debug!(error = %err, "the shared tier failed; going on without it");
                None
            }
        }
    }
}

fn kind(err: &TierError) -> &'static str {
    match err {
        TierError::Timeout(_) => "timeout",
        TierError::Unavailable(_) => "unavailable",
        TierError::Malformed(_) => "malformed",
        TierError::Unsuitable(_) => "unsuitable",
    }
}
