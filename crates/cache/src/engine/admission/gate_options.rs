//! The settings of one origin's gate.

use std::time::Duration;

use super::limit_search::LimitRange;
use super::request::Shares;
use crate::engine::options::EngineOptions;
use coherence::BreakerOptions;

/// When an origin's circuit breaker opens.
const BREAKER: BreakerOptions = BreakerOptions {
    min_calls: 8,
    failure_share: 0.5,
    open_for: Duration::from_secs(1),
    max_open: Duration::from_secs(30),
    probe_timeout: Duration::from_secs(15),
};

/// The maximum length of the queue, per request of the maximum concurrency.
const QUEUE_FACTOR: usize = 32;

/// The settings of an [`OriginGate`](super::OriginGate).
#[derive(Clone, Debug)]
pub struct GateOptions {
    /// The maximum number of requests in progress.
    pub concurrency: usize,
    /// The range in which the limit is searched for, below `concurrency`: for an origin whose latency depends on
    /// the request more than on the origin's load. `None`: the limit follows the latency of loads.
    pub search: Option<LimitRange>,
    /// The shares of loads and of each party.
    pub shares: Shares,
    /// The maximum number of requests in the queue.
    pub queue: usize,
    /// The time that a request may queue.
    pub queue_timeout: Duration,
    /// The timeout of one load; [`Rules::load_timeout`](crate::Rules::load_timeout) overrides it.
    pub load_timeout: Duration,
    /// A load that takes longer counts as failed for the circuit breaker. `None`: no duration does.
    pub slow_load: Option<Duration>,
    /// When the circuit breaker opens, and for how long.
    pub breaker: BreakerOptions,
    /// Whether a load that fails because the origin can't be reached is tried once more.
    pub retries: bool,
}

impl GateOptions {
    /// Returns the settings of an origin that does not set its own. `concurrency`: its maximum number of
    /// requests in progress, instead of [`EngineOptions::origin_concurrency`].
    pub(super) fn new(options: &EngineOptions, concurrency: Option<usize>) -> Self {
        let concurrency = concurrency.unwrap_or(options.origin_concurrency);
        Self {
            concurrency,
            search: None,
            shares: Shares::default(),
            queue: concurrency.saturating_mul(QUEUE_FACTOR),
            queue_timeout: options.queue_timeout,
            load_timeout: options.load_timeout,
            slow_load: Some(options.slow_load),
            breaker: BREAKER,
            retries: true,
        }
    }
}
