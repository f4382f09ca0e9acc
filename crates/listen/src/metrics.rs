//! Metrics of listeners.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Connections that were closed because their client had all that it may have, by listener.
const REFUSED: &str = "tidegate_listener_refused_connections";
/// Attempts to accept a connection that failed for lack of file descriptors, by listener.
const STARVED: &str = "tidegate_listener_descriptors_missing";
/// Connections that were closed because they were not encrypted, by listener and reason.
const TLS_FAILURES: &str = "tidegate_listener_tls_failures";
/// The seconds until a certificate expires, by listener and certificate.
const EXPIRES: &str = "tidegate_listener_certificate_expires_seconds";

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ListenerLabel {
    listener: &'static str,
}

/// The metrics of one listener.
#[derive(Clone, Debug, Default)]
pub struct ListenerMetrics {
    pub(crate) refused: Counter,
    pub(crate) starved: Counter,
}

impl ListenerMetrics {
    /// Registers the metrics of the listeners with these names.
    #[must_use]
    pub fn register<const N: usize>(
        names: [&'static str; N],
        registry: &mut Registry,
    ) -> [Self; N] {
        let (refused, starved) = (Family::default(), Family::default());
        let metrics = names.map(|listener| {
            let label = ListenerLabel { listener };
            Self {
                refused: Family::get_or_create_owned(&refused, &label),
                starved: Family::get_or_create_owned(&starved, &label),
            }
        });
        let help = "Connections closed because their client had all that it may have, by listener";
        registry.register(REFUSED, help, refused);
        let help = "Failures to accept a connection for lack of file descriptors, by listener";
        registry.register(STARVED, help, starved);
        metrics
    }
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct FailureLabels {
    listener: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct CertificateLabels {
    listener: &'static str,
    certificate: String,
}

/// The metrics of TLS on all listeners. Clones share all state.
#[derive(Clone, Debug, Default)]
pub struct TlsMetrics {
    failures: Family<FailureLabels, Counter>,
    expires: Family<CertificateLabels, Gauge>,
    /// The certificates that are shown.
    shown: Arc<Mutex<Vec<CertificateLabels>>>,
}

impl TlsMetrics {
    /// Registers the metrics.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let help = "Connections closed because the TLS handshake failed, by listener and reason";
        registry.register(TLS_FAILURES, help, metrics.failures.clone());
        let help = "Seconds until a certificate expires, negative after that, by listener";
        registry.register(EXPIRES, help, metrics.expires.clone());
        metrics
    }

    pub(crate) fn failed(&self, listener: &'static str, reason: &'static str) {
        self.failures.get_or_create(&FailureLabels { listener, reason }).inc();
    }

    /// Shows the seconds that are left of a listener's certificates, and of no others.
    pub(crate) fn set_expiry(&self, listener: &'static str, left_s: &BTreeMap<String, i64>) {
        let mut shown = self.shown.lock();
        shown.retain(|labels| {
            let stays = labels.listener != listener || left_s.contains_key(&labels.certificate);
            if !stays {
                self.expires.remove(labels);
            }
            stays
        });
        for (certificate, left) in left_s {
            let labels = CertificateLabels { listener, certificate: certificate.clone() };
            self.expires.get_or_create(&labels).set(*left);
            if !shown.contains(&labels) {
                shown.push(labels);
            }
        }
    }
}
