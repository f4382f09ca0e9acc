//! The engine's metrics.

pub(super) mod batches;
pub(super) mod filters;
mod labels;
mod pools;

use std::fmt;
use std::sync::Arc;

use contract::Class;
use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use self::batches::BatchMetrics;
pub use self::batches::{ATOMIC, BATCHES, ITEMS, ROUND_TRIPS};
use self::filters::FilterMetrics;
pub use self::filters::{FILTER_BYTES, FILTER_KEYS, FILTER_READINGS, FILTER_STATE};
use self::labels::{
    ContractLabel, GuardedLabel, LoadLabels, ReadLabels, Reason, RequestState, ResultLabel,
    ShedLabels, StandbyResult, TierReason,
};
pub use self::pools::{POOL_ASSURED_BYTES, POOL_BYTES, POOL_ENTRIES, POOL_EVICTIONS};
use super::error::ReadError;
use super::rules::Rules;
use super::striped_counter::StripedCounter;
use crate::local::{FilterStatus, PoolStatus};

/// Reads other than plain in-process hits, by contract, tier (`local`, `shared`, `origin`, `none`) and result
/// (`hit`, `soft`, `absent`, `filtered`, `miss`, the reason for a stale answer, or the kind of error).
pub const READS: &str = "tidegate_reads";
/// Plain hits in the in-process tier by contract. A metric of their own, because they are counted in stripes.
pub const LOCAL_HITS: &str = "tidegate_local_hits";
/// Loads from origins by contract and result.
pub const LOADS: &str = "tidegate_loads";
/// Duration of loads, queueing included.
pub const LOAD_SECONDS: &str = "tidegate_load_seconds";
/// Background refreshes by contract and result: `made`, `skipped` (not admitted at the origin) or `failed`.
pub const REFRESHES: &str = "tidegate_background_refreshes";
/// Entries that a commit made soft-stale instead of removing them.
pub const SOFT_STALE: &str = "tidegate_marked_entries";
/// Invalidations of entries that were soft-stale already, which cost no load.
pub const MERGED: &str = "tidegate_merged_invalidations";
/// Share of their budgets that contracts of an origin may spend now, 0 to 0.9.
pub const SPEND: &str = "tidegate_governor_spend_ratio";
/// Reads answered by the load of another reader.
pub const COLLAPSED: &str = "tidegate_collapsed_reads";
/// Reads with a causal token that waited for a tier, by result: `reached` or `origin`.
pub const TOKEN_WAITS: &str = "tidegate_token_waits";
/// Fills that a tier refused, by tier and reason.
pub const REFUSED_FILLS: &str = "tidegate_refused_fills";
/// Leases that expired during their load.
pub const LEASES_LOST: &str = "tidegate_leases_lost";
/// Loads from standbys, by standby and result: `used`, the reason for rejecting the answer (`behind`,
/// `overtaken`, `token`, `other-log`), or the kind of error.
pub const STANDBY_LOADS: &str = "tidegate_standby_loads";
/// Loads taken over after waiting for another node's load.
pub const TAKEOVERS: &str = "tidegate_lease_takeovers";
/// Loads that were shed, by origin and reason.
pub const SHED: &str = "tidegate_shed_loads";
/// State of circuit breakers by the guarded origin or tier: 0 closed, 1 half open, 2 open.
pub const BREAKER: &str = "tidegate_breaker_state";
/// Current concurrency limit by origin.
pub const ORIGIN_LIMIT: &str = "tidegate_origin_limit";
/// Requests at an origin, by state: `running`, or `queued` for a place.
pub const ORIGIN_REQUESTS: &str = "tidegate_origin_requests";
/// Failed calls to the shared tier, by kind.
pub const SHARED_ERRORS: &str = "tidegate_shared_errors";
/// Resets of the in-process tier because of a gap in the node stream, by reason.
pub const RESTARTS: &str = "tidegate_local_restarts";
/// Time from the commit, by the database's clock, to the invalidation in this node.
pub const APPLY_SECONDS: &str = "tidegate_commit_to_applied_seconds";
/// Bound of an answer given now, −1 while nothing is proven.
pub const BOUND_SECONDS: &str = "tidegate_bound_seconds";
/// Bytes in the in-process tier.
pub const LOCAL_BYTES: &str = "tidegate_local_bytes";
/// Entries in the in-process tier.
pub const LOCAL_ENTRIES: &str = "tidegate_local_entries";
/// Evictions from the in-process tier.
pub const LOCAL_EVICTIONS: &str = "tidegate_local_evictions";
/// Entries of the in-process tier that were renewed from the log, without a load.
pub const LOCAL_RENEWALS: &str = "tidegate_local_renewals";
/// Tombstones in the in-process tier.
pub const TOMBSTONES: &str = "tidegate_local_tombstones";

/// The engine's metrics. Clones share the counters.
#[derive(Clone, Debug)]
pub struct Metrics {
    reads: Family<ReadLabels, Counter>,
    loads: Family<LoadLabels, Counter>,
    load_seconds: Family<ContractLabel, Histogram, fn() -> Histogram>,
    collapsed: Family<ContractLabel, Counter>,
    refreshes: Family<LoadLabels, Counter>,
    token_waits: Family<ResultLabel, Counter>,
    refused_fills: Family<TierReason, Counter>,
    shed: Family<ShedLabels, Counter>,
    standbys: Family<StandbyResult, Counter>,
    breaker: Family<GuardedLabel, Gauge>,
    origin_limit: Family<GuardedLabel, Gauge>,
    origin_requests: Family<RequestState, Gauge>,
    shared_errors: Family<Reason, Counter>,
    restarts: Family<Reason, Counter>,
    pub(super) batches: BatchMetrics,
    pub(super) filters: FilterMetrics,
    pub(super) leases_lost: Counter,
    pub(super) takeovers: Counter,
    pub(super) apply_seconds: Histogram,
    local_hits: Arc<LocalHits>,
    gauges: Arc<Gauges>,
}

impl Metrics {
    /// Creates the metrics and registers them.
    #[must_use]
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            reads: Family::default(),
            loads: Family::default(),
            load_seconds: Family::new_with_constructor(load_buckets),
            collapsed: Family::default(),
            refreshes: Family::default(),
            token_waits: Family::default(),
            refused_fills: Family::default(),
            shed: Family::default(),
            standbys: Family::default(),
            breaker: Family::default(),
            origin_limit: Family::default(),
            origin_requests: Family::default(),
            shared_errors: Family::default(),
            restarts: Family::default(),
            batches: BatchMetrics::default(),
            filters: FilterMetrics::default(),
            leases_lost: Counter::default(),
            takeovers: Counter::default(),
            apply_seconds: Histogram::new(exponential_buckets(0.000_25, 2.0, 18)),
            local_hits: Arc::default(),
            gauges: Arc::default(),
        };
        let m = metrics.clone();
        registry.register(READS, "Reads other than plain in-process hits", m.reads);
        registry.register(LOADS, "Loads from the origin", m.loads);
        registry.register(LOAD_SECONDS, "Duration of loads, queueing included", m.load_seconds);
        registry.register(COLLAPSED, "Reads answered by the load of another reader", m.collapsed);
        registry.register(REFRESHES, "Background refreshes by result", m.refreshes);
        registry.register(
            TOKEN_WAITS,
            "Reads with a causal token that waited for a tier",
            m.token_waits,
        );
        registry.register(REFUSED_FILLS, "Fills that a tier refused", m.refused_fills);
        registry.register(SHED, "Loads shed to protect the origin", m.shed);
        registry.register(STANDBY_LOADS, "Loads from standbys by result", m.standbys);
        registry.register(BREAKER, "Circuit breakers: 0 closed, 1 half open, 2 open", m.breaker);
        registry.register(ORIGIN_LIMIT, "Concurrency limit of an origin", m.origin_limit);
        registry.register(
            ORIGIN_REQUESTS,
            "Requests that run at an origin, and that wait for a place",
            m.origin_requests,
        );
        registry.register(SHARED_ERRORS, "Failed calls to the shared tier", m.shared_errors);
        registry.register(RESTARTS, "Resets of the in-process tier", m.restarts);
        registry.register(LEASES_LOST, "Leases that expired during their load", m.leases_lost);
        registry.register(TAKEOVERS, "Loads taken over from another node", m.takeovers);
        registry.register(
            APPLY_SECONDS,
            "Time from the commit to the invalidation in this node",
            m.apply_seconds,
        );
        m.batches.register(registry);
        m.filters.register(registry);
        registry.register_collector(Box::new(m.local_hits));
        registry.register_collector(Box::new(m.gauges));
        metrics
    }

    /// Creates metrics that are not collected.
    #[must_use]
    pub fn detached() -> Self {
        Self::new(&mut Registry::default())
    }

    /// Collects the in-process hits of a contract from now on.
    pub(super) fn register_hits(&self, rules: &Rules, hits: &Arc<StripedCounter>) {
        self.local_hits.0.lock().push((Arc::clone(&rules.name), Arc::clone(hits)));
    }

    /// Sets the function that reads the gauges at collection.
    pub(super) fn set_gauges(
        &self,
        read: impl Fn() -> Option<GaugeValues> + Send + Sync + 'static,
    ) {
        *self.gauges.0.lock() = Some(Box::new(read));
    }

    pub(super) fn read(&self, rules: &Rules, tier: &'static str, result: &'static str) {
        let contract = Arc::clone(&rules.name);
        self.reads.get_or_create(&ReadLabels { contract, tier, result }).inc();
    }

    pub(super) fn load(&self, rules: &Rules, result: &'static str, seconds: f64) {
        let contract = Arc::clone(&rules.name);
        let label = ContractLabel { contract: Arc::clone(&contract) };
        self.load_seconds.get_or_create(&label).observe(seconds);
        self.loads.get_or_create(&LoadLabels { contract, result }).inc();
    }

    pub(super) fn collapsed(&self, rules: &Rules) {
        let contract = Arc::clone(&rules.name);
        self.collapsed.get_or_create(&ContractLabel { contract }).inc();
    }

    pub(super) fn refresh(&self, rules: &Rules, outcome: Result<(), &ReadError>) {
        let contract = Arc::clone(&rules.name);
        let result = match outcome {
            Ok(()) => "made",
            Err(ReadError::Overloaded { .. }) => "skipped",
            Err(_) => "failed",
        };
        self.refreshes.get_or_create(&LoadLabels { contract, result }).inc();
    }

    pub(super) fn waited_for_token(&self, reached: bool) {
        let result = if reached { "reached" } else { "origin" };
        self.token_waits.get_or_create(&ResultLabel { result }).inc();
    }

    pub(super) fn refused(&self, tier: &'static str, reason: &'static str) {
        self.refused_fills.get_or_create(&TierReason { tier, reason }).inc();
    }

    pub(super) fn shed(&self, origin: &Arc<str>, reason: &'static str, class: Class) {
        let (origin, class) = (Arc::clone(origin), class.as_str());
        self.shed.get_or_create(&ShedLabels { origin, reason, class }).inc();
    }

    pub(super) fn standby(&self, standby: &str, result: &'static str) {
        self.standbys.get_or_create(&StandbyResult { standby: standby.to_owned(), result }).inc();
    }

    pub(super) fn breaker(&self, what: &Arc<str>, state: i64) {
        self.breaker.get_or_create(&GuardedLabel { what: Arc::clone(what) }).set(state);
    }

    /// Returns the gauges of the places of an origin.
    pub(super) fn places(&self, origin: &Arc<str>) -> PlaceGauges {
        let what = || Arc::clone(origin);
        let requests =
            |state| self.origin_requests.get_or_create_owned(&RequestState { what: what(), state });
        PlaceGauges {
            limit: self.origin_limit.get_or_create_owned(&GuardedLabel { what: what() }),
            running: requests("running"),
            queued: requests("queued"),
        }
    }

    pub(super) fn shared_error(&self, reason: &'static str) {
        self.shared_errors.get_or_create(&Reason { reason }).inc();
    }

    pub(super) fn restart(&self, reason: &'static str) {
        self.restarts.get_or_create(&Reason { reason }).inc();
    }
}

/// The gauges of the places of one origin.
#[derive(Clone, Debug)]
pub(super) struct PlaceGauges {
    limit: Gauge,
    running: Gauge,
    queued: Gauge,
}

impl PlaceGauges {
    /// Sets the concurrency limit, and the numbers of requests that run and that wait.
    pub(super) fn set(&self, limit: usize, running: usize, queued: usize) {
        for (gauge, number) in
            [(&self.limit, limit), (&self.running, running), (&self.queued, queued)]
        {
            gauge.set(i64::try_from(number).unwrap_or(i64::MAX));
        }
    }
}

fn load_buckets() -> Histogram {
    Histogram::new(exponential_buckets(0.000_5, 2.0, 16))
}

/// The in-process hits of all contracts.
#[derive(Default)]
struct LocalHits(Mutex<Vec<(Arc<str>, Arc<StripedCounter>)>>);

impl fmt::Debug for LocalHits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalHits").finish_non_exhaustive()
    }
}

impl Collector for LocalHits {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let hits = self.0.lock();
        let mut totals: Vec<(&Arc<str>, u64)> = Vec::with_capacity(hits.len());
        for (name, count) in hits.iter() {
            match totals.iter_mut().find(|(known, _)| *known == name) {
                Some((_, total)) => *total += count.sum(),
                None => totals.push((name, count.sum())),
            }
        }
        let help = "Plain hits in the in-process tier";
        let mut family = encoder.encode_descriptor(LOCAL_HITS, help, None, MetricType::Counter)?;
        for (name, total) in totals {
            let label = ContractLabel { contract: Arc::clone(name) };
            let counter = ConstCounter::new(total);
            counter.encode(family.encode_family(&label)?)?;
        }
        Ok(())
    }
}

/// The gauges at the time of a collection.
#[derive(Clone, Debug)]
pub(super) struct GaugeValues {
    pub(super) bound_seconds: f64,
    pub(super) bytes: u64,
    pub(super) entries: usize,
    pub(super) evictions: u64,
    pub(super) renewals: u64,
    pub(super) tombstones: usize,
    pub(super) soft_stale: u64,
    pub(super) merged: u64,
    /// In the order of [`POOLS`](crate::POOLS).
    pub(super) pools: [PoolStatus; 3],
    pub(super) spend: Vec<(Box<str>, f64)>,
    pub(super) filters: Vec<FilterStatus>,
}

type ReadGauges = Box<dyn Fn() -> Option<GaugeValues> + Send + Sync>;

#[derive(Default)]
struct Gauges(Mutex<Option<ReadGauges>>);

impl fmt::Debug for Gauges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gauges").finish_non_exhaustive()
    }
}

impl Collector for Gauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(values) = self.0.lock().as_ref().and_then(|read| read()) else {
            return Ok(());
        };
        let gauges = [
            (
                BOUND_SECONDS,
                "Bound of an answer given now; -1: nothing proven",
                values.bound_seconds,
            ),
            (LOCAL_BYTES, "Bytes in the in-process tier", values.bytes as f64),
            (LOCAL_ENTRIES, "Current entries in the in-process tier", values.entries as f64),
            (TOMBSTONES, "Tombstones in the in-process tier", values.tombstones as f64),
        ];
        for (name, help, value) in gauges {
            let gauge = prometheus_client::metrics::gauge::ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
        }
        filters::encode(&values.filters, &mut encoder)?;
        pools::encode(&values.pools, &mut encoder)?;
        let help = "Share of their budgets that contracts of an origin may spend now";
        let mut family = encoder.encode_descriptor(SPEND, help, None, MetricType::Gauge)?;
        for (origin, spend) in values.spend {
            let label = GuardedLabel { what: origin.into() };
            let gauge = prometheus_client::metrics::gauge::ConstGauge::new(spend);
            gauge.encode(family.encode_family(&label)?)?;
        }
        let counters = [
            (LOCAL_EVICTIONS, "Evictions from the in-process tier", values.evictions),
            (LOCAL_RENEWALS, "Entries renewed from the log, without a load", values.renewals),
            (
                SOFT_STALE,
                "Entries that a commit made soft-stale instead of removing them",
                values.soft_stale,
            ),
            (MERGED, "Invalidations of entries that were soft-stale already", values.merged),
        ];
        for (name, help, value) in counters {
            let counter = ConstCounter::new(value);
            counter.encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)?;
        }
        Ok(())
    }
}
