//! Metrics of certificates by ACME.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// Attempts to get a certificate, by result.
const ATTEMPTS: &str = "tidegate_acme_attempts";

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ResultLabel {
    result: &'static str,
}

/// The metrics. Clones share all state.
#[derive(Clone, Debug, Default)]
pub struct AcmeMetrics {
    attempts: Family<ResultLabel, Counter>,
}

impl AcmeMetrics {
    /// Registers the metrics.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let help = "Attempts to get a certificate from the authority, by result: issued or failed";
        registry.register(ATTEMPTS, help, metrics.attempts.clone());
        metrics
    }

    pub(crate) fn attempted(&self, is_issued: bool) {
        let result = if is_issued { "issued" } else { "failed" };
        self.attempts.get_or_create(&ResultLabel { result }).inc();
    }
}
