//! The engine's handle and the parts that it owns.

use std::sync::Arc;

use coherence::{Clock, ClockReading, ClockTime, Coverage, Log, Lsn, Mono, Turn};

use super::admission::{GateOptions, OriginGate};
use super::coalesce::Coalescer;
use super::load::{Loader, Origins};
use super::metrics::{GaugeValues, Metrics};
use super::observer::EngineObserver;
use super::options::EngineOptions;
use super::tiers::TierStack;
use crate::chance::Chance;
use crate::local::{FilterStatus, LocalStatus};
use crate::shared::SharedTier;

/// The read path of one node. Clones are the same engine.
#[derive(Clone)]
pub struct Engine {
    pub(super) inner: Arc<Inner>,
}

/// The parts of an engine.
pub(crate) struct Inner {
    pub(crate) loader: Loader,
    pub(crate) coalescer: Coalescer,
}

impl Engine {
    /// Creates an engine with an empty in-process tier, which proves nothing until
    /// [`follow`](Self::follow) runs and [samples](Self::sample) come in.
    #[must_use]
    pub fn new(
        options: EngineOptions,
        shared: Arc<dyn SharedTier>,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
    ) -> Self {
        let origins = Origins::new(&options, &clock, &metrics);
        let tiers = TierStack::new(options, shared, clock, metrics.clone());
        let loader = Loader { tiers, origins };
        let inner = Arc::new(Inner { loader, coalescer: Coalescer::default() });
        let gauges = Arc::downgrade(&inner);
        metrics.set_gauges(move || gauges.upgrade().map(|inner| inner.gauges()));
        Self { inner }
    }

    /// Records a sample: the primary was asked for the end of its log at `asked` (read before the question
    /// was sent) and answered `end` of `log`. A sample proves nothing to tiers of another lineage.
    pub fn sample(&self, log: Log, asked: Mono, end: Lsn) {
        self.tiers().local.sample(log, asked, end);
    }

    /// Records a reading of the clock of the server that writes `log`, by which values change without a commit.
    pub fn record_clock(&self, log: Log, reading: ClockReading) {
        self.tiers().database_clock.lock().record(log, reading);
    }

    /// Returns when the clock that decides about data without a contract reaches `at`: that of the database, or if none is
    /// known this process's wall clock.
    #[must_use]
    pub fn turn_at(&self, at: ClockTime) -> Turn {
        self.tiers().known_turn(at)
    }

    /// Returns the end of the primary's log at the last [sample](Self::sample).
    #[must_use]
    pub fn log_end(&self) -> Option<Lsn> {
        self.tiers().local.log_end()
    }

    /// Returns the status of the in-process tier.
    #[must_use]
    pub fn status(&self) -> LocalStatus {
        self.tiers().local.status(self.tiers().now())
    }

    /// Returns the number of loads in progress. Each of them may have a lease of the shared tier, which it releases when
    /// it ends; its reader may be gone.
    #[must_use]
    pub fn loads_in_progress(&self) -> usize {
        let Coalescer { keys, sets } = &self.inner.coalescer;
        keys.len() + sets.len()
    }

    /// Returns the status of the key filters.
    #[must_use]
    pub fn filters(&self) -> Vec<FilterStatus> {
        self.tiers().local.filter_status()
    }

    /// Returns the gate of the origin `name`, through which this engine's loads from it pass. Every other
    /// request to that origin has to pass it too ([`OriginGate::admit`]). `options` count when the gate is
    /// created, by this call or by the first load.
    #[must_use]
    pub fn origin_gate(&self, name: &str, options: GateOptions) -> Arc<OriginGate> {
        self.inner.loader.origins.primaries.gate_of(name, || options)
    }

    /// Returns the settings of an origin's gate that does not set its own. `concurrency`: the maximum number
    /// of requests in progress; `None`: [`EngineOptions::origin_concurrency`].
    #[must_use]
    pub fn gate_options(&self, concurrency: Option<usize>) -> GateOptions {
        self.inner.loader.origins.primaries.options_of(concurrency)
    }

    /// Returns the mappings of this node's contracts.
    #[must_use]
    pub fn coverage(&self) -> &Coverage {
        &self.tiers().options.coverage
    }

    /// Returns whether the leader applies the mappings of all contracts of this node.
    #[must_use]
    pub fn is_covered(&self) -> bool {
        self.tiers().local.is_covered()
    }

    /// Returns whether the shared tier follows the log that this node [samples](Self::sample); `None`: this node
    /// has no sample, or has received nothing from the tier.
    #[must_use]
    pub fn is_of_sampled_log(&self) -> Option<bool> {
        self.tiers().local.is_of_sampled_log()
    }

    /// Returns the tier that all nodes share.
    #[must_use]
    pub fn shared(&self) -> &Arc<dyn SharedTier> {
        &self.tiers().shared.tier
    }

    /// Sets the observer of every load, fill and event from now on. The first observer stays.
    pub fn set_observer(&self, observer: Arc<dyn EngineObserver>) {
        self.tiers().set_observer(observer);
    }

    /// The source of random numbers.
    pub(crate) fn chance(&self) -> &dyn Chance {
        &*self.tiers().options.chance
    }

    #[inline]
    pub(super) fn tiers(&self) -> &TierStack {
        &self.inner.loader.tiers
    }
}

impl Inner {
    #[inline]
    pub(crate) fn tiers(&self) -> &TierStack {
        &self.loader.tiers
    }

    fn gauges(&self) -> GaugeValues {
        let tiers = self.tiers();
        let now = tiers.now();
        let status = tiers.local.status(now);
        GaugeValues {
            bound_seconds: status.bound.map_or(-1.0, |bound| bound.as_secs_f64()),
            bytes: status.bytes,
            entries: status.entries,
            evictions: status.evictions,
            renewals: status.renewals,
            tombstones: status.tombstones,
            soft_stale: status.soft_stale,
            merged: status.merged,
            pools: status.pools,
            spend: self.loader.origins.primaries.spend(now),
            filters: tiers.local.filter_status(),
        }
    }
}
