//! The engine's settings.

use std::sync::Arc;
use std::time::Duration;

use coherence::Coverage;

use super::governor_mode::GovernorMode;
use crate::chance::{Chance, ThreadChance};
use crate::local::Assured;

/// The settings of an [`Engine`](super::Engine) that contracts do not set.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Hard limit of the in-process tier's memory, overhead included, in bytes.
    pub local_bytes: u64,
    /// The memory that each pool of the in-process tier is assured of; together at most
    /// [`MOST_ASSURED`](crate::MOST_ASSURED) of `local_bytes`.
    pub assured: Assured,
    /// The number of entries that an invalidation removes from the in-process tier before it counts as applied.
    /// The others, of a large tag, are checked by their readers and removed in the background.
    pub removed_at_once: usize,
    /// The timeout of calls to the shared tier. After it the read goes on without that tier.
    pub shared_timeout: Duration,
    /// The time that a load's lease lasts without a heartbeat. The lease of a dead node is granted again
    /// after it. Heartbeats are sent every third of it.
    pub lease_ttl: Duration,
    /// The time that a reader waits for a load in progress, on this node or another.
    pub wait_timeout: Duration,
    /// The time that a read with a causal token waits for a tier to reach the token before it reads the
    /// origin.
    pub after_timeout: Duration,
    /// The timeout of one load.
    pub load_timeout: Duration,
    /// A load that takes longer counts as failed for the origin's circuit breaker.
    pub slow_load: Duration,
    /// The time that a load may queue for an origin at its concurrency limit.
    pub queue_timeout: Duration,
    /// The maximum number of concurrent loads at an origin that does not set its own
    /// ([`Origin::concurrency`](crate::Origin::concurrency)); the adaptive limit stays below it.
    pub origin_concurrency: usize,
    /// Whether contracts may spend their budget on soft-stale entries.
    pub governor: GovernorMode,
    /// The number of samples of the log's end that are kept (at 40 a second, 24,000 are ten minutes).
    pub samples: usize,
    /// The source of random numbers.
    pub chance: Arc<dyn Chance>,
    /// The mappings of this node's contracts: those that it applies as a leader, and needs of another one.
    pub coverage: Coverage,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            local_bytes: 256 << 20,
            assured: Assured::default(),
            removed_at_once: 256,
            shared_timeout: Duration::from_millis(50),
            lease_ttl: Duration::from_secs(2),
            wait_timeout: Duration::from_secs(5),
            after_timeout: Duration::from_millis(100),
            load_timeout: Duration::from_secs(10),
            slow_load: Duration::from_secs(5),
            queue_timeout: Duration::from_secs(1),
            origin_concurrency: 64,
            governor: GovernorMode::On,
            samples: 24_000,
            chance: Arc::new(ThreadChance),
            coverage: Coverage::default(),
        }
    }
}
