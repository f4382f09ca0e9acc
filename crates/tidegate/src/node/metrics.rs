//! What the following of the log counts.

use std::sync::Arc;
use std::time::Duration;

use coherence::{Cause, Event};
use hdrhistogram::Histogram as Quantiles;
use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub(crate) struct ByCause {
    cause: &'static str,
}

#[derive(Clone)]
pub(crate) struct FollowMetrics {
    pub(crate) incarnations: Counter,
    pub(crate) told_again: Counter,
    pub(crate) retries: Counter,
    pub(crate) exhausted: Counter,
    pub(crate) incomplete: Counter,
    invalidations: Family<ByCause, Counter>,
    subjects: Counter,
    lag: Histogram,
    /// The same in µs, for those who ask for quantiles.
    lag_us: Arc<Mutex<Quantiles<u64>>>,
}

/// Longer lags count as this: an hour.
const LAG_MAX_US: u64 = 3_600_000_000;

impl FollowMetrics {
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            incarnations: Counter::default(),
            told_again: Counter::default(),
            retries: Counter::default(),
            exhausted: Counter::default(),
            incomplete: Counter::default(),
            invalidations: Family::default(),
            subjects: Counter::default(),
            // 0.1 ms to about 100 s.
            lag: Histogram::new(exponential_buckets(0.000_1, 2.0, 21)),
            lag_us: Arc::new(Mutex::new(
                Quantiles::new_with_max(LAG_MAX_US, 3).expect("three digits up to an hour fit"),
            )),
        };
        let m = &metrics;
        registry.register(
            "tidegate_incarnations",
            "How often everything cached was declared unproven",
            m.incarnations.clone(),
        );
        registry.register(
            "tidegate_shared_told_again",
            "Times the shared tier had gone back and was told again what it missed",
            m.told_again.clone(),
        );
        registry.register(
            "tidegate_invalidation_retries",
            "Failed tries to apply a piece of the log to the shared tier",
            m.retries.clone(),
        );
        registry.register(
            "tidegate_invalidation_exhausted",
            "Pieces of the log that could not be applied after ten tries (tries go on)",
            m.exhausted.clone(),
        );
        registry.register(
            "tidegate_invalidation_incomplete",
            "Changes whose old tags the log does not carry (REPLICA IDENTITY)",
            m.incomplete.clone(),
        );
        registry.register(
            "tidegate_invalidations",
            "Commits and orders that invalidated something",
            m.invalidations.clone(),
        );
        registry.register(
            "tidegate_invalidation_subjects",
            "Keys and tags invalidated",
            m.subjects.clone(),
        );
        registry.register(
            "tidegate_commit_to_gone_seconds",
            "From the commit's own time to applied in the shared tier and in this node",
            m.lag.clone(),
        );
        metrics
    }

    /// An event has been applied in the shared tier and in this node.
    pub(crate) fn invalidation(&self, event: &Event, now_us: u64) {
        let cause = event.cause;
        self.invalidations.get_or_create(&ByCause { cause: cause.as_str() }).inc();
        self.subjects.inc_by(event.subjects.len() as u64);
        if cause == Cause::Commit {
            let lag_us = now_us.saturating_sub(event.committed_us);
            self.lag.observe(lag_us as f64 / 1e6);
            self.lag_us.lock().saturating_record(lag_us);
        }
    }

    /// How many commits invalidated something.
    pub(crate) fn commits(&self) -> u64 {
        self.invalidations.get_or_create(&ByCause { cause: Cause::Commit.as_str() }).get()
    }

    /// From commit to gone; `None` before the first.
    pub(crate) fn lag_at(&self, quantile: f64) -> Option<Duration> {
        let lag_us = self.lag_us.lock();
        (!lag_us.is_empty()).then(|| Duration::from_micros(lag_us.value_at_quantile(quantile)))
    }
}
