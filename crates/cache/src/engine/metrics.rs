//! What the engine tells Prometheus.

pub(super) mod batches;
pub(super) mod filters;
mod pools;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use self::batches::Batches;
pub use self::batches::{ATOMIC, BATCHES, ITEMS, ROUND_TRIPS};
use self::filters::Filters;
pub use self::filters::{FILTER_BYTES, FILTER_KEYS, FILTER_READINGS, FILTER_STATE};
pub use self::pools::{POOL_ASSURED_BYTES, POOL_BYTES, POOL_ENTRIES, POOL_EVICTIONS};
use super::{Policy, ReadError};
use crate::local::{FilterStanding, PoolStanding};

/// Reads that were not plain in-process hits, by contract, tier (`local`, `shared`, `origin`, `none`) and result (`hit`,
/// `soft`, `absent`, `filtered`, `miss`, why it was stale, or the kind of error).
pub const READS: &str = "tidegate_reads";
/// Plain hits in the in-process tier by contract, apart because they are counted in lanes.
pub const LOCAL_HITS: &str = "tidegate_local_hits";
/// Origin loads by contract and result.
pub const LOADS: &str = "tidegate_loads";
/// How long loads took, queueing included.
pub const LOAD_SECONDS: &str = "tidegate_load_seconds";
/// Background refreshes by contract and how they ended: `made`, `skipped` (the origin had no room for
/// them) or `failed`.
pub const REFRESHES: &str = "tidegate_background_refreshes";
/// Entries that a commit marked instead of removing them.
pub const MARKED: &str = "tidegate_marked_entries";
/// Invalidations that cost nothing, since they found the entry marked already.
pub const MERGED: &str = "tidegate_merged_invalidations";
/// The share of their budgets that contracts of an origin may spend now, 0 to 0.9.
pub const SPEND: &str = "tidegate_governor_spend_ratio";
/// Readers that were answered by somebody else's load.
pub const COLLAPSED: &str = "tidegate_collapsed_reads";
/// Reads with a token that waited for a tier, by how that ended: `reached`, or `origin`.
pub const TOKEN_WAITS: &str = "tidegate_token_waits";
/// Fills that a tier refused, by tier and reason.
pub const REFUSED_FILLS: &str = "tidegate_refused_fills";
/// Leases that ran out under their holder.
pub const LEASES_LOST: &str = "tidegate_leases_lost";
/// Loads that a standby was asked for, by standby and what came of it: `used`, why the answer would not
/// do (`behind`, `overtaken`, `token`, `other-log`), or the kind of error.
pub const STANDBY_LOADS: &str = "tidegate_standby_loads";
/// Waits for another node that ended in loading after all.
pub const TAKEOVERS: &str = "tidegate_lease_takeovers";
/// Loads that were not made, by origin and reason.
pub const SHED: &str = "tidegate_shed_loads";
/// Breakers by what they guard: 0 closed, 1 half open, 2 open.
pub const BREAKER: &str = "tidegate_breaker_state";
/// The present concurrency limit by origin.
pub const ORIGIN_LIMIT: &str = "tidegate_origin_limit";
/// Shared-tier calls that failed, by kind.
pub const SHARED_ERRORS: &str = "tidegate_shared_errors";
/// Entries dropped because the node stream had a gap, by reason.
pub const RESTARTS: &str = "tidegate_local_restarts";
/// Commit time by the database's clock to the removal in this node.
pub const APPLY_SECONDS: &str = "tidegate_commit_to_applied_seconds";
/// The bound of an answer given now, −1 while nothing is proven.
pub const BOUND_SECONDS: &str = "tidegate_bound_seconds";
/// Bytes in the in-process tier.
pub const LOCAL_BYTES: &str = "tidegate_local_bytes";
/// Entries in the in-process tier.
pub const LOCAL_ENTRIES: &str = "tidegate_local_entries";
/// Evictions from the in-process tier.
pub const LOCAL_EVICTIONS: &str = "tidegate_local_evictions";
/// Entries of the in-process tier that a commit renewed, without a load.
pub const LOCAL_RENEWALS: &str = "tidegate_local_renewals";
/// Tombstones in the in-process tier.
pub const TOMBSTONES: &str = "tidegate_local_tombstones";

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ReadLabels {
    contract: Arc<str>,
    tier: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct LoadLabels {
    contract: Arc<str>,
    result: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ContractLabel {
    contract: Arc<str>,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ResultLabel {
    result: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct TierReason {
    tier: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct OriginReason {
    origin: Arc<str>,
    reason: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct StandbyResult {
    standby: String,
    result: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Guarded {
    what: Arc<str>,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Reason {
    reason: &'static str,
}

/// The engine's metrics; clones count together.
#[derive(Clone, Debug)]
pub struct Metrics {
    reads: Family<ReadLabels, Counter>,
    loads: Family<LoadLabels, Counter>,
    load_seconds: Family<ContractLabel, Histogram, fn() -> Histogram>,
    collapsed: Family<ContractLabel, Counter>,
    refreshes: Family<LoadLabels, Counter>,
    token_waits: Family<ResultLabel, Counter>,
    refused_fills: Family<TierReason, Counter>,
    shed: Family<OriginReason, Counter>,
    standbys: Family<StandbyResult, Counter>,
    breaker: Family<Guarded, Gauge>,
    origin_limit: Family<Guarded, Gauge>,
    shared_errors: Family<Reason, Counter>,
    restarts: Family<Reason, Counter>,
    pub(super) batches: Batches,
    pub(super) filters: Filters,
    pub(super) leases_lost: Counter,
    pub(super) takeovers: Counter,
    pub(super) apply_seconds: Histogram,
    local_hits: Arc<LocalHits>,
    gauges: Arc<Gauges>,
}

impl Metrics {
    /// Registers all of them.
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
            shared_errors: Family::default(),
            restarts: Family::default(),
            batches: Batches::default(),
            filters: Filters::default(),
            leases_lost: Counter::default(),
            takeovers: Counter::default(),
            apply_seconds: Histogram::new(exponential_buckets(0.000_25, 2.0, 18)),
            local_hits: Arc::default(),
            gauges: Arc::default(),
        };
        let m = metrics.clone();
        registry.register(READS, "Reads that were not plain in-process hits", m.reads);
        registry.register(LOADS, "Loads from the origin", m.loads);
        registry.register(LOAD_SECONDS, "Duration of loads, queueing included", m.load_seconds);
        registry.register(COLLAPSED, "Reads answered by somebody else's load", m.collapsed);
        registry.register(REFRESHES, "Background refreshes by how they ended", m.refreshes);
        registry.register(TOKEN_WAITS, "Reads with a token that waited for a tier", m.token_waits);
        registry.register(REFUSED_FILLS, "Fills that a tier refused", m.refused_fills);
        registry.register(SHED, "Loads not made, to spare the origin", m.shed);
        registry.register(STANDBY_LOADS, "Loads that standbys were asked for", m.standbys);
        registry.register(BREAKER, "Breakers: 0 closed, 1 half open, 2 open", m.breaker);
        registry.register(ORIGIN_LIMIT, "Loads an origin may have under way", m.origin_limit);
        registry.register(SHARED_ERRORS, "Failed calls to the shared tier", m.shared_errors);
        registry.register(RESTARTS, "Times the in-process tier dropped everything", m.restarts);
        registry.register(LEASES_LOST, "Leases that ran out under their holder", m.leases_lost);
        registry.register(TAKEOVERS, "Loads taken over from another node", m.takeovers);
        registry.register(APPLY_SECONDS, "Commit to removal in this node", m.apply_seconds);
        m.batches.register(registry);
        m.filters.register(registry);
        registry.register_collector(Box::new(m.local_hits));
        registry.register_collector(Box::new(m.gauges));
        metrics
    }

    /// Metrics that nobody collects.
    #[must_use]
    pub fn detached() -> Self {
        Self::new(&mut Registry::default())
    }

    /// Counts a policy's in-process hits from now on.
    pub(super) fn adopt(&self, policy: &Policy) {
        self.local_hits.0.lock().push((Arc::clone(&policy.name), Arc::clone(&policy.local_hits)));
    }

    /// Lets the gauges be read when somebody collects them.
    pub(super) fn gauges(&self, read: impl Fn() -> Option<GaugeValues> + Send + Sync + 'static) {
        *self.gauges.0.lock() = Some(Box::new(read));
    }

    pub(super) fn read(&self, policy: &Policy, tier: &'static str, result: &'static str) {
        let contract = Arc::clone(&policy.name);
        self.reads.get_or_create(&ReadLabels { contract, tier, result }).inc();
    }

    pub(super) fn load(&self, policy: &Policy, result: &'static str, seconds: f64) {
        let contract = Arc::clone(&policy.name);
        let label = ContractLabel { contract: Arc::clone(&contract) };
        self.load_seconds.get_or_create(&label).observe(seconds);
        self.loads.get_or_create(&LoadLabels { contract, result }).inc();
    }

    pub(super) fn collapsed(&self, policy: &Policy) {
        let contract = Arc::clone(&policy.name);
        self.collapsed.get_or_create(&ContractLabel { contract }).inc();
    }

    pub(super) fn refresh(&self, policy: &Policy, made: Result<(), &ReadError>) {
        let contract = Arc::clone(&policy.name);
        let result = match made {
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

    pub(super) fn shed(&self, origin: &Arc<str>, reason: &'static str) {
        let origin = Arc::clone(origin);
        self.shed.get_or_create(&OriginReason { origin, reason }).inc();
    }

    pub(super) fn standby(&self, standby: &str, result: &'static str) {
        self.standbys.get_or_create(&StandbyResult { standby: standby.to_owned(), result }).inc();
    }

    pub(super) fn breaker(&self, what: &Arc<str>, state: i64) {
        self.breaker.get_or_create(&Guarded { what: Arc::clone(what) }).set(state);
    }

    pub(super) fn limit(&self, what: &Arc<str>, limit: usize) {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.origin_limit.get_or_create(&Guarded { what: Arc::clone(what) }).set(limit);
    }

    pub(super) fn shared_error(&self, reason: &'static str) {
        self.shared_errors.get_or_create(&Reason { reason }).inc();
    }

    pub(super) fn restart(&self, reason: &'static str) {
        self.restarts.get_or_create(&Reason { reason }).inc();
    }
}

fn load_buckets() -> Histogram {
    Histogram::new(exponential_buckets(0.000_5, 2.0, 16))
}

/// A counter in several lanes, so that threads which count the same contract's hits don't take
/// the cache line from each other. The last lane is for all threads that have none of their own.
#[derive(Debug, Default)]
pub(super) struct Lanes([Lane; LANES]);

const LANES: usize = 17;
const OWN_LANES: usize = LANES - 1;

#[derive(Debug, Default)]
#[repr(align(128))]
struct Lane(AtomicU64);

impl Lanes {
    #[inline]
    pub(super) fn inc(&self) {
        let lane = lane();
        let count = &self.0[lane].0;
        if lane < OWN_LANES {
            // Nobody else writes here, so no locked instruction is needed.
            count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        } else {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn sum(&self) -> u64 {
        self.0.iter().map(|lane| lane.0.load(Ordering::Relaxed)).sum()
    }
}

/// The first threads that hit have a lane each, for good; all others share the last.
#[inline]
fn lane() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static LANE: usize = NEXT.fetch_add(1, Ordering::Relaxed).min(OWN_LANES);
    }
    LANE.with(|lane| *lane)
}

/// In-process hits of all policies.
#[derive(Default)]
struct LocalHits(Mutex<Vec<(Arc<str>, Arc<Lanes>)>>);

impl fmt::Debug for LocalHits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalHits").finish_non_exhaustive()
    }
}

impl Collector for LocalHits {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let hits = self.0.lock();
        let mut totals: Vec<(&Arc<str>, u64)> = Vec::with_capacity(hits.len());
        for (name, lanes) in hits.iter() {
            match totals.iter_mut().find(|(known, _)| *known == name) {
                Some((_, total)) => *total += lanes.sum(),
                None => totals.push((name, lanes.sum())),
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

/// What is read when somebody collects.
#[derive(Clone, Debug)]
pub(super) struct GaugeValues {
    pub(super) bound_seconds: f64,
    pub(super) bytes: u64,
    pub(super) entries: usize,
    pub(super) evictions: u64,
    pub(super) renewals: u64,
    pub(super) tombstones: usize,
    pub(super) marked: u64,
    pub(super) merged: u64,
    /// In the order of [`POOLS`].
    pub(super) pools: [PoolStanding; 3],
    pub(super) spend: Vec<(Box<str>, f64)>,
    pub(super) filters: Vec<FilterStanding>,
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
            (LOCAL_ENTRIES, "Entries in the in-process tier", values.entries as f64),
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
            let label = Guarded { what: origin.into() };
            let gauge = prometheus_client::metrics::gauge::ConstGauge::new(spend);
            gauge.encode(family.encode_family(&label)?)?;
        }
        let counters = [
            (LOCAL_EVICTIONS, "Evictions from the in-process tier", values.evictions),
            (LOCAL_RENEWALS, "Entries that a commit renewed, without a load", values.renewals),
            (MARKED, "Entries that a commit marked instead of removing them", values.marked),
            (MERGED, "Invalidations that found the entry marked already", values.merged),
        ];
        for (name, help, value) in counters {
            let counter = ConstCounter::new(value);
            counter.encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)?;
        }
        Ok(())
    }
}
