//! Metrics of reloads, and of the nodes that have other settings.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Reloads of the configuration, by result.
const RELOADS: &str = "tidegate_configuration_reloads";
/// 1: the last reload succeeded, or none was tried. 0: it failed, and the configuration of before serves.
const LAST_OK: &str = "tidegate_configuration_last_reload_ok";
/// The time since which the present configuration serves, in seconds since 1970.
const SINCE: &str = "tidegate_configuration_since_seconds";
/// The other nodes on the shared tier whose settings differ.
const DIFFERING: &str = "tidegate_configuration_differing_nodes";
/// 1 while the settings of other nodes can't be read.
const UNKNOWN: &str = "tidegate_configuration_nodes_unknown";

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ResultLabel {
    result: &'static str,
}

/// The metrics of reloads. Clones share all state.
#[derive(Clone, Debug)]
pub(super) struct ReloadMetrics {
    succeeded: Counter,
    failed: Counter,
    last_ok: Gauge,
    since: Gauge,
    differing: Gauge,
    unknown: Gauge,
}

impl ReloadMetrics {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let reloads = Family::<ResultLabel, Counter>::default();
        let of = |result| reloads.get_or_create_owned(&ResultLabel { result });
        let metrics = Self {
            succeeded: of("success"),
            failed: of("failure"),
            last_ok: Gauge::default(),
            since: Gauge::default(),
            differing: Gauge::default(),
            unknown: Gauge::default(),
        };
        registry.register(RELOADS, "Reloads of the configuration, by result", reloads);
        let help = "1 unless the last reload failed, so that the configuration of before serves";
        registry.register(LAST_OK, help, metrics.last_ok.clone());
        let help = "Time since which the present configuration serves, in seconds since 1970";
        registry.register(SINCE, help, metrics.since.clone());
        let help = "Other nodes on the shared tier whose settings differ";
        registry.register(DIFFERING, help, metrics.differing.clone());
        let help = "1 while the settings of other nodes can't be read";
        registry.register(UNKNOWN, help, metrics.unknown.clone());
        metrics.last_ok.set(1);
        metrics
    }

    /// Shows the time since which the present configuration serves.
    pub(super) fn serves_since(&self, now_ms: u64) {
        self.since.set(i64::try_from(now_ms / 1_000).unwrap_or(i64::MAX));
    }

    pub(super) fn succeeded(&self) {
        self.succeeded.inc();
        self.last_ok.set(1);
    }

    pub(super) fn failed(&self) {
        self.failed.inc();
        self.last_ok.set(0);
    }

    /// Shows the number of nodes with other settings. While it is unknown, the last known one stays.
    pub(super) fn differing(&self, nodes: Option<usize>) {
        self.unknown.set(i64::from(nodes.is_none()));
        if let Some(nodes) = nodes {
            self.differing.set(i64::try_from(nodes).unwrap_or(i64::MAX));
        }
    }
}
