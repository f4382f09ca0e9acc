//! What the Redis tier counts.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
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
    /// Times a call was sent to another node of the cluster.
    pub redirections: Counter,
    /// Buckets of keys that did not take the last batch of the log: they could not be reached.
    pub buckets_away: Gauge,
    /// Buckets of keys that began anew alone: what was cached in them was void.
    pub buckets_begun: Counter,
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
            "Times the shared tier's primary, or a bucket's, was found at another address than before",
            metrics.primary_changes.clone(),
        );
        registry.register(
            "tidegate_shared_redirections",
            "Times a call was sent to another node of the cluster",
            metrics.redirections.clone(),
        );
        registry.register(
            "tidegate_shared_buckets_away",
            "Buckets of keys that could not be reached when the log was last applied",
            metrics.buckets_away.clone(),
        );
        registry.register(
            "tidegate_shared_buckets_begun",
            "Buckets of keys that began anew alone: what was cached in them was void",
            metrics.buckets_begun.clone(),
        );
        metrics
    }
}
