//! Metrics of following the log.

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

use super::changed_tables::ChangedTables;

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ByCause {
    cause: &'static str,
}

/// Counters of the [`Follower`](super::Follower). Clones share the counts.
#[derive(Clone)]
pub struct FollowMetrics {
    pub(super) epoch_resets: Counter,
    pub(super) replays: Counter,
    pub(super) retries: Counter,
    pub(super) exhausted: Counter,
    pub(super) incomplete: Counter,
    invalidations: Family<ByCause, Counter>,
    subjects: Counter,
    changed_tables: ChangedTables,
    lag: Histogram,
    /// The same in µs, with exact quantiles.
    lag_us: Arc<Mutex<Quantiles<u64>>>,
}

/// The longest lag that is told apart, an hour.
const LAG_MAX_US: u64 = 3_600_000_000;

impl FollowMetrics {
    /// Creates the metrics and registers them in `registry`.
    #[must_use]
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            epoch_resets: Counter::default(),
            replays: Counter::default(),
            retries: Counter::default(),
            exhausted: Counter::default(),
            incomplete: Counter::default(),
            invalidations: Family::default(),
            subjects: Counter::default(),
            changed_tables: ChangedTables::default(),
            // 0.1 ms to about 100 s.
            lag: Histogram::new(exponential_buckets(0.000_1, 2.0, 21)),
            lag_us: Arc::new(Mutex::new(
                Quantiles::new_with_max(LAG_MAX_US, 3).expect("three digits up to an hour fit"),
            )),
        };
        let m = &metrics;
        registry.register(
            "tidegate_incarnations",
            "Epoch resets: all entries became void",
            m.epoch_resets.clone(),
        );
        registry.register(
            "tidegate_shared_told_again",
            "Replays of the log to a shared tier that went back to an earlier position",
            m.replays.clone(),
        );
        registry.register(
            "tidegate_invalidation_retries",
            "Failed attempts to apply a batch of the log to the shared tier",
            m.retries.clone(),
        );
        registry.register(
            "tidegate_invalidation_exhausted",
            "Batches of the log that ten attempts could not apply (attempts go on)",
            m.exhausted.clone(),
        );
        registry.register(
            "tidegate_invalidation_incomplete",
            "Changes whose old tags the log does not carry (REPLICA IDENTITY)",
            m.incomplete.clone(),
        );
        registry.register(
            "tidegate_invalidations",
            "Commits and purge requests that invalidated something",
            m.invalidations.clone(),
        );
        registry.register(
            "tidegate_invalidation_subjects",
            "Keys and tags invalidated",
            m.subjects.clone(),
        );
        registry.register(
            "tidegate_commit_to_gone_seconds",
            "Time from the commit to its application in the shared tier and in this node",
            m.lag.clone(),
        );
        metrics
    }

    /// Returns the tables with commits.
    #[must_use]
    pub fn changed_tables(&self) -> &ChangedTables {
        &self.changed_tables
    }

    /// Counts an event that the shared tier and this node have applied. `now_us`: wall time, µs since 1970.
    pub(super) fn observe(&self, event: &Event, now_us: u64) {
        let cause = event.cause;
        self.invalidations.get_or_create(&ByCause { cause: cause.as_str() }).inc();
        self.subjects.inc_by(event.subjects.len() as u64);
        if cause == Cause::Commit {
            let lag_us = now_us.saturating_sub(event.committed_us);
            self.lag.observe(lag_us as f64 / 1e6);
            self.lag_us.lock().saturating_record(lag_us);
        }
    }

    /// Returns the number of commits that invalidated something.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.invalidations.get_or_create(&ByCause { cause: Cause::Commit.as_str() }).get()
    }

    /// Returns a quantile (0 to 1) of the time from a commit to its application; `None` before the first.
    #[must_use]
    pub fn lag_at(&self, quantile: f64) -> Option<Duration> {
        let lag_us = self.lag_us.lock();
        (!lag_us.is_empty()).then(|| Duration::from_micros(lag_us.value_at_quantile(quantile)))
    }
}
