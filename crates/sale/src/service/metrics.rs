//! Metrics.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ByOutcome {
    operation: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ByOperation {
    operation: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ByReason {
    reason: &'static str,
}

/// Counters of the sale. Clones share the counts.
#[derive(Clone)]
pub struct SaleMetrics {
    requests: Family<ByOutcome, Counter>,
    refused_units: Family<ByReason, Counter>,
    batches: Family<ByOperation, Histogram>,
    expired: Counter,
    early: Counter,
}

impl SaleMetrics {
    /// Creates the metrics and registers them in `registry`.
    #[must_use]
    pub fn new(registry: &mut Registry) -> Self {
        let sizes: fn() -> Histogram = || Histogram::new(exponential_buckets(1.0, 2.0, 9));
        let metrics = Self {
            requests: Family::default(),
            refused_units: Family::default(),
            batches: Family::new_with_constructor(sizes),
            expired: Counter::default(),
            early: Counter::default(),
        };
        registry.register(
            "tidegate_sale_requests",
            "Requests of the sale by operation and outcome",
            metrics.requests.clone(),
        );
        registry.register(
            "tidegate_sale_refused_units",
            "Units that were asked for and not held: sales lost to a lack of stock or to a limit",
            metrics.refused_units.clone(),
        );
        registry.register(
            "tidegate_sale_batch_requests",
            "Requests in one call to the ledger",
            metrics.batches.clone(),
        );
        registry.register(
            "tidegate_sale_expired_holds",
            "Holds whose expiry this node has recorded",
            metrics.expired.clone(),
        );
        registry.register(
            "tidegate_sale_early_refusals",
            "Requests that were refused by the ledger's last answer, without a call for stock",
            metrics.early.clone(),
        );
        metrics
    }

    /// Counts a request.
    pub fn answered(&self, operation: &'static str, outcome: &'static str) {
        self.requests.get_or_create(&ByOutcome { operation, outcome }).inc();
    }

    pub(super) fn refused(&self, reason: &'static str, units: i64) {
        let counter = self.refused_units.get_or_create(&ByReason { reason });
        counter.inc_by(u64::try_from(units).unwrap_or_default());
    }

    pub(super) fn observe_batch(&self, operation: &'static str, requests: usize) {
        self.batches.get_or_create(&ByOperation { operation }).observe(requests as f64);
    }

    pub(super) fn refused_early(&self) {
        self.early.inc();
    }

    pub(super) fn expired(&self, holds: usize) {
        self.expired.inc_by(holds as u64);
    }
}
