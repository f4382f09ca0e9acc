//! Metrics of jobs.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::ledger::{JobStats, OldestSnapshot};
use crate::rules::{AttemptEnd, JobClass};

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ByKind {
    class: &'static str,
    kind: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ByState {
    class: &'static str,
    kind: String,
    state: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ByEnd {
    kind: String,
    end: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ByClass {
    class: &'static str,
}

/// Counters of jobs. Clones share the counts.
#[derive(Clone)]
pub struct JobMetrics {
    depth: Family<ByState, Gauge>,
    oldest: Family<ByKind, Gauge>,
    ends: Family<ByEnd, Counter>,
    delay: Family<ByClass, Histogram>,
    snapshot: Gauge,
}

/// Up to the goals of the classes, and beyond.
const DELAYS: [f64; 9] = [0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 600.0];

impl JobMetrics {
    /// Creates the metrics and registers them in `registry`.
    #[must_use]
    pub fn new(registry: &mut Registry) -> Self {
        let delays: fn() -> Histogram = || Histogram::new(DELAYS);
        let metrics = Self {
            depth: Family::default(),
            oldest: Family::default(),
            ends: Family::default(),
            delay: Family::new_with_constructor(delays),
            snapshot: Gauge::default(),
        };
        registry.register(
            "tidegate_jobs_open",
            "Jobs in the ledger by class, kind and state: waiting, delayed, leased, dead",
            metrics.depth.clone(),
        );
        registry.register(
            "tidegate_jobs_oldest_seconds",
            "Time for which the oldest waiting job has been due",
            metrics.oldest.clone(),
        );
        registry.register(
            "tidegate_jobs_attempts",
            "Attempts whose end this node has recorded, by kind and end",
            metrics.ends.clone(),
        );
        registry.register(
            "tidegate_jobs_delay_seconds",
            "Time between a job's being due and its lease by this node, by class",
            metrics.delay.clone(),
        );
        registry.register(
            "tidegate_jobs_oldest_snapshot_seconds",
            "Age of the oldest transaction in the ledger's database that keeps old row versions alive",
            metrics.snapshot.clone(),
        );
        metrics
    }

    pub(super) fn leased(&self, class: JobClass, delay: Duration) {
        self.delay.get_or_create(&ByClass { class: class.word() }).observe(delay.as_secs_f64());
    }

    pub(super) fn ended(&self, kind: &str, end: AttemptEnd) {
        self.ends.get_or_create(&ByEnd { kind: kind.to_owned(), end: end.word() }).inc();
    }

    pub(super) fn observe(&self, stats: &[JobStats]) {
        for kind in stats {
            let class = kind.class.word();
            let states = [
                ("waiting", kind.waiting),
                ("delayed", kind.delayed),
                ("leased", kind.leased),
                ("dead", kind.dead),
            ];
            for (state, count) in states {
                let labels = ByState { class, kind: kind.kind.clone(), state };
                self.depth.get_or_create(&labels).set(count);
            }
            let labels = ByKind { class, kind: kind.kind.clone() };
            self.oldest.get_or_create(&labels).set(kind.oldest_ms / 1_000);
        }
    }

    pub(super) fn observe_snapshot(&self, snapshot: OldestSnapshot) {
        self.snapshot.set(snapshot.age_seconds);
    }
}
