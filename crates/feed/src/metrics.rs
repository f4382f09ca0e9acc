//! Metrics of a feed.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

const CHANGES: &str = "tidegate_feed_changes";
const COMMITS: &str = "tidegate_feed_commits";
const LAG: &str = "tidegate_feed_lag_seconds";
const RECONNECTS: &str = "tidegate_feed_reconnects";
const MALFORMED: &str = "tidegate_feed_malformed";
const REFUSED: &str = "tidegate_feed_messages_refused";
const OVERSIZED: &str = "tidegate_feed_oversized";
const SLOTS_MADE: &str = "tidegate_feed_slots_made";
const LEADER: &str = "tidegate_feed_leader";

/// The metrics of one feed. Clones share their values.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    pub(crate) changes: Counter,
    pub(crate) commits: Counter,
    pub(crate) lag: Gauge<f64, AtomicU64>,
    pub(crate) reconnects: Counter,
    pub(crate) malformed: Counter,
    pub(crate) refused: Counter,
    pub(crate) oversized: Counter,
    pub(crate) slots_created: Counter,
    pub(crate) leader: Gauge,
}

impl Metrics {
    /// Registers the metrics in `registry`.
    #[must_use]
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(CHANGES, "Row changes of tracked tables", metrics.changes.clone());
        registry.register(COMMITS, "Commits that change tracked tables", metrics.commits.clone());
        registry.register(
            LAG,
            "Time from the last commit, by the database's clock, to its delivery; negative if the clocks differ",
            metrics.lag.clone(),
        );
        registry.register(RECONNECTS, "Lost connections", metrics.reconnects.clone());
        registry.register(
            MALFORMED,
            "Log messages and rows that could not be parsed and were skipped",
            metrics.malformed.clone(),
        );
        registry.register(
            REFUSED,
            "Messages in the log that were not applied because of their signature",
            metrics.refused.clone(),
        );
        registry.register(
            OVERSIZED,
            "Transactions too large to list, delivered as a change of their whole tables",
            metrics.oversized.clone(),
        );
        registry.register(
            SLOTS_MADE,
            "Replication slots or change logs created",
            metrics.slots_created.clone(),
        );
        registry.register(
            LEADER,
            "1 while this node follows the log, 0 while another node or none does",
            metrics.leader.clone(),
        );
        metrics
    }
}
