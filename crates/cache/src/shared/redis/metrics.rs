//! Counters of the tier in Redis.

use contract::Refusals;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use redis_transport::TransportMetrics;

use super::signatures::Distrust;

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct RefusedLabels {
    reason: &'static str,
}

/// Counters of the tier in Redis. Clones share the counts.
#[derive(Clone, Debug, Default)]
pub struct RedisMetrics {
    /// Malformed values under the tier's keys, each removed or refused.
    pub malformed: Counter,
    /// Times that a node's subscription could not prove that it had missed no message.
    pub losses: Counter,
    /// Times that a node's subscription had to connect again.
    pub reconnects: Counter,
    /// Times that a primary was found at a new address.
    pub primary_changes: Counter,
    /// Times that a node redirected a call to another node of the cluster.
    pub redirections: Counter,
    /// Buckets of keys that could not be reached when the last batch of the log was applied.
    pub buckets_unreachable: Gauge,
    /// Buckets of keys that were reset alone: their entries were void.
    pub buckets_reset: Counter,
    /// Entries that were removed because Redis had no memory for an invalidation.
    pub freed: Counter,
    refused: Family<RefusedLabels, Counter>,
    /// The values that were not used because of their signature.
    pub refusals: Refusals,
}

impl RedisMetrics {
    /// Registers the counters in `registry`.
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "tidegate_shared_malformed_values",
            "Malformed values under the keys of the shared tier, removed or refused",
            metrics.malformed.clone(),
        );
        registry.register(
            "tidegate_shared_stream_losses",
            "Times that the node stream could not prove that no message was missed",
            metrics.losses.clone(),
        );
        registry.register(
            "tidegate_shared_stream_reconnects",
            "Times that the node stream had to connect again",
            metrics.reconnects.clone(),
        );
        registry.register(
            "tidegate_shared_primary_changes",
            "Times that the primary of the shared tier or of a bucket was found at a new address",
            metrics.primary_changes.clone(),
        );
        registry.register(
            "tidegate_shared_redirections",
            "Times that a node redirected a call to another node of the cluster",
            metrics.redirections.clone(),
        );
        registry.register(
            "tidegate_shared_buckets_away",
            "Buckets of keys that could not be reached when the last batch of the log was applied",
            metrics.buckets_unreachable.clone(),
        );
        registry.register(
            "tidegate_shared_buckets_begun",
            "Buckets of keys that were reset alone: their entries were void",
            metrics.buckets_reset.clone(),
        );
        registry.register(
            "tidegate_shared_entries_freed",
            "Entries removed because Redis had no memory left for an invalidation",
            metrics.freed.clone(),
        );
        registry.register(
            "tidegate_shared_values_refused",
            "Values in Redis that were not used because of their signature",
            metrics.refused.clone(),
        );
        metrics
    }

    /// Counts a value that is not used because of its signature. An expired one is no finding: clocks may differ.
    pub(super) fn refuse(&self, value: &str, why: Distrust, now_ms: u64) {
        self.refused.get_or_create(&RefusedLabels { reason: why.label() }).inc();
        if why != Distrust::Expired && self.refusals.count(format!("{value}: {why}"), now_ms) {
            tracing::error!(value, reason = %why, "a value in Redis is not used");
        }
    }

    /// Returns the counters that the transport increments.
    pub(super) fn transport(&self) -> TransportMetrics {
        TransportMetrics {
            primary_changes: self.primary_changes.clone(),
            redirections: self.redirections.clone(),
        }
    }
}
