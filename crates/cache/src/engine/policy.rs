//! What the engine has to know of a contract.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use coherence::governor::{self, Use};
use coherence::{Clock, Mono};
use contract::{Class, Contract, Evidence, Refresh, Tiers, Unproven};

use super::gate::Pressure;
use super::metrics::Lanes;
use crate::local::{FilterId, Held, Soft, Terms};
use crate::shared::Slide;

/// How one kind of data is read: a contract's numbers, or an edge route's.
///
/// Make one per contract and keep it: it also counts the contract's hits.
#[derive(Debug)]
pub struct Policy {
    /// The contract's name; a label in metrics, so keep the number of names small.
    pub name: Arc<str>,
    /// How old an answer may be. Zero: every answer is read from the origin after the question.
    pub budget: Duration,
    /// What to do when that can't be proven.
    pub unproven: Unproven,
    /// How long an entry lives.
    pub ttl: Duration,
    /// How long proven absence lives.
    pub absent_ttl: Duration,
    /// How long it is remembered that an answer may not be stored.
    pub uncacheable_ttl: Duration,
    /// How its uses prolong an entry's life, if they do (not that of absence).
    pub slide: Option<Slide>,
    /// How long after its load an entry may be answered from, whatever else allows it.
    pub retention: Duration,
    /// Where entries may live. In no tier: every read asks the origin by itself, nothing is
    /// collapsed, since two callers of a thing that may not be kept may not share it either; but see
    /// `collapses`.
    pub tiers: Tiers,
    /// Whether readers who come while a load is under way may share it where no tier may keep what it
    /// brings: it is the place that forbids to keep it, not the thing.
    pub collapses: bool,
    /// The pool of in-process memory that entries belong to.
    pub pool: Class,
    /// Who is shed first when the origin is short.
    pub priority: Class,
    /// β and the spread of lifetimes.
    pub refresh: Refresh,
    /// For how long after its TTL an entry may be served while it is renewed.
    pub stale_while_revalidate: Duration,
    /// Larger answers are served but not stored.
    pub max_bytes: u64,
    /// What the bound of its answers rests on.
    pub evidence: Evidence,
    /// How far its origin may lag behind what the log says; zero where a database is asked.
    pub lag: Duration,
    /// Whether a value never changes under its key, so that nothing has to be proven.
    pub immutable: bool,
    pub(super) local_hits: Arc<Lanes>,
    pub(super) adopted: AtomicBool,
    /// Of the origin that it loads from, since the first load.
    pub(super) pressure: OnceLock<Arc<Pressure>>,
    /// Of the ids that exist, once it is [kept](super::Engine::keep_filter).
    pub(super) filter: OnceLock<FilterId>,
}

impl Policy {
    /// A policy for something that has no contract, such as a route of the edge: both tiers,
    /// `read-origin`, standard priority, a TTL of twice the budget. Change the fields as needed.
    #[must_use]
    pub fn new(name: &str, budget: Duration) -> Self {
        let ttl = budget.saturating_mul(2);
        Self {
            name: name.into(),
            budget,
            unproven: Unproven::ReadOrigin,
            ttl,
            absent_ttl: ttl.min(Duration::from_secs(60)),
            uncacheable_ttl: Duration::from_secs(10),
            slide: None,
            retention: Duration::MAX,
            tiers: Tiers::ALL,
            collapses: false,
            pool: Class::Standard,
            priority: Class::Standard,
            refresh: Refresh::default(),
            stale_while_revalidate: Duration::ZERO,
            max_bytes: 4 << 20,
            evidence: Evidence::Log,
            lag: Duration::ZERO,
            immutable: false,
            local_hits: Arc::default(),
            adopted: AtomicBool::new(false),
            pressure: OnceLock::new(),
            filter: OnceLock::new(),
        }
    }
}

impl Policy {
    /// Whether a commit may leave something to be served: there is a budget, and changes matter.
    pub(super) fn is_lenient(&self) -> bool {
        !self.immutable && !self.is_aged() && !self.budget.is_zero() && self.tiers.local
    }

    /// Whether nothing but the time of their load proves its entries.
    pub(super) fn is_aged(&self) -> bool {
        self.evidence == Evidence::Age
    }

    /// The filter of the ids that exist, if one is kept.
    pub(super) fn filter(&self) -> Option<FilterId> {
        self.filter.get().copied()
    }

    /// What is said of an entry's place in the in-process tier. `governor`: whether commits may mark.
    pub(super) fn terms(&self, governor: bool) -> Terms {
        Terms { lenient: governor && self.is_lenient(), aged: self.is_aged(), pool: self.pool }
    }

    /// The longest life after a load, used or not.
    pub(super) fn longest(&self) -> Duration {
        let longest = self.slide.map_or(self.retention, |slide| slide.longest.min(self.retention));
        // Past the budget its age would take it out of use, whatever is left of its life.
        if self.is_aged() { longest.min(self.budget) } else { longest }
    }

    /// Whether answers may still come from it. By wall time: it may be older than this process.
    pub(super) fn may_keep(&self, held: &Held, clock: &dyn Clock) -> bool {
        let age = || Duration::from_millis(clock.wall_ms().saturating_sub(held.loaded_wall_ms));
        self.retention == Duration::MAX || age() < self.retention
    }

    /// What may be done at `now` with a marked entry.
    pub(super) fn use_of(&self, soft: &Soft, now: Mono) -> Use {
        let spend = self.pressure.get().map_or(0.0, |pressure| pressure.spend(now));
        governor::use_of(soft.mark.as_of, now, self.budget, spend, soft.lot)
    }
}

impl From<&Contract> for Policy {
    fn from(contract: &Contract) -> Self {
        let aged = contract.evidence() == Evidence::Age;
        Self {
            unproven: contract.unproven,
            ttl: contract.ttl,
            absent_ttl: contract.absent_ttl,
            slide: contract.longest_life().filter(|_| !aged).map(Slide::within),
            retention: contract.retention.unwrap_or(Duration::MAX),
            tiers: if contract.is_cached() { contract.tiers } else { Tiers::NONE },
            collapses: contract.abroad,
            pool: contract.pool,
            priority: contract.priority,
            refresh: contract.refresh,
            stale_while_revalidate: contract.stale_while_revalidate,
            max_bytes: contract.max_size_bytes,
            evidence: contract.evidence(),
            lag: contract.lag,
            immutable: contract.immutable,
            ..Self::new(&contract.name, contract.staleness)
        }
    }
}
