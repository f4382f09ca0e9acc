//! Metrics of access.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub(crate) struct RefusalLabels {
    pub(crate) listener: &'static str,
    pub(crate) reason: &'static str,
}

/// Counters of refused requests and of the audit log. Clones share all state.
#[derive(Clone, Debug)]
pub struct Metrics {
    pub(crate) refused: Family<RefusalLabels, Counter>,
    pub(crate) tokens_unreadable: Gauge,
    pub(crate) audit_records: Counter,
    pub(crate) audit_failures: Counter,
}

impl Metrics {
    /// Registers the metrics.
    #[must_use]
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            refused: Family::default(),
            tokens_unreadable: Gauge::default(),
            audit_records: Counter::default(),
            audit_failures: Counter::default(),
        };
        registry.register(
            "tidegate_access_refused",
            "Requests to the private listeners that were refused before they were read",
            metrics.refused.clone(),
        );
        registry.register(
            "tidegate_access_tokens_unreadable",
            "1 while the file of access tokens can't be read",
            metrics.tokens_unreadable.clone(),
        );
        registry.register(
            "tidegate_audit_log_records",
            "Records written to the audit log",
            metrics.audit_records.clone(),
        );
        registry.register(
            "tidegate_audit_log_failures",
            "Records that could not be written to the audit log; their actions were refused",
            metrics.audit_failures.clone(),
        );
        metrics
    }
}
