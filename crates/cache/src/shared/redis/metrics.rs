//! What the Redis tier counts.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

/// Counters of the Redis tier. Clones count into the same ones.
#[derive(Clone, Debug, Default)]
pub struct RedisMetrics {
    /// Values under our keys that were not of our making, each removed or refused.
    pub malformed: Counter,
    /// Times a node's subscription could not show that it had missed nothing.
    pub losses: Counter,
    /// Times a node's subscription had to connect again.
    pub reconnects: Counter,
    /// Times the primary was found at another address than before.
    pub primary_changes: Counter,
}

impl RedisMetrics {
    /// Counters that are shown under `registry`.
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "tidegate_shared_malformed_values",
            "Values under our keys in the shared tier that were not of our making",
            metrics.malformed.clone(),
        );
        registry.register(
            "tidegate_shared_stream_losses",
            "Times the node stream could not show that no message was missed",
            metrics.losses.clone(),
        );
        registry.register(
            "tidegate_shared_stream_reconnects",
            "Times the node stream had to connect again",
            metrics.reconnects.clone(),
        );
        registry.register(
            "tidegate_shared_primary_changes",
            "Times the shared tier's primary was found at another address than before",
            metrics.primary_changes.clone(),
        );
        metrics
    }
}
