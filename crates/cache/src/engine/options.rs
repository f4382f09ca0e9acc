//! The engine's settings.

use std::sync::Arc;
use std::time::Duration;

use crate::chance::{Chance, ThreadChance};
use crate::local::Assured;

/// How an [`Engine`](super::Engine) behaves, beyond what contracts say.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Hard limit of the in-process tier's memory, overhead included.
    pub local_bytes: u64,
    /// What each pool of it is assured of; together at most
    /// [`MOST_ASSURED`](crate::MOST_ASSURED) of `local_bytes`.
    pub assured: Assured,
    /// How long the shared tier may take to answer before the read goes on without it.
    pub shared_timeout: Duration,
    /// How long a load's lease lasts without a heartbeat; a dead holder is replaced after this.
    /// Heartbeats go out every third of it.
    pub lease_ttl: Duration,
    /// How long a caller waits for a load that is under way, here or on another node.
    pub wait_timeout: Duration,
    /// How long a read with a token waits for a tier that has not got there yet, before it goes to
    /// the origin.
    pub after_timeout: Duration,
    /// How long one load may take.
    pub load_timeout: Duration,
    /// A load that takes longer counts as a bad one for the origin's breaker.
    pub slow_load: Duration,
    /// How long a load may queue for an origin that has enough to do.
    pub queue_timeout: Duration,
    /// The most loads under way at one origin that does not say itself
    /// ([`Origin::concurrency`](crate::Origin::concurrency)); the adaptive limit moves below it.
    pub origin_concurrency: usize,
    /// Whether contracts may spend their budget on entries that a commit has made old, while their
    /// origin is hard pressed ([`coherence::governor`]). Without it a commit always removes.
    pub governor: bool,
    /// How many samples of the log's end are kept (4 a second: 2,400 are ten minutes).
    pub samples: usize,
    /// Where random numbers come from.
    pub chance: Arc<dyn Chance>,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            local_bytes: 256 << 20,
            assured: Assured::default(),
            shared_timeout: Duration::from_millis(50),
            lease_ttl: Duration::from_secs(2),
            wait_timeout: Duration::from_secs(5),
            after_timeout: Duration::from_millis(100),
            load_timeout: Duration::from_secs(10),
            slow_load: Duration::from_secs(5),
            queue_timeout: Duration::from_secs(1),
            origin_concurrency: 64,
            governor: true,
            samples: 2_400,
            chance: Arc::new(ThreadChance),
        }
    }
}
