//! What the engine has to know of a contract.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use coherence::Mono;
use coherence::governor::{self, Use};
use contract::{Class, Contract, Refresh, Tiers, Unproven};

use super::gate::Pressure;
use super::metrics::Lanes;
use crate::local::{FilterId, Soft};

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
    /// Where entries may live. In no tier: every read asks the origin by itself, nothing is
    /// collapsed, since two callers of a thing that may not be kept may not share it either.
    pub tiers: Tiers,
    /// Who is shed first when the origin is short.
    pub priority: Class,
    /// β and the spread of lifetimes.
    pub refresh: Refresh,
    /// For how long after its TTL an entry may be served while it is renewed.
    pub stale_while_revalidate: Duration,
    /// Larger answers are served but not stored.
    pub max_bytes: u64,
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
            tiers: Tiers::ALL,
            priority: Class::Standard,
            refresh: Refresh::default(),
            stale_while_revalidate: Duration::ZERO,
            max_bytes: 4 << 20,
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
        !self.immutable && !self.budget.is_zero() && self.tiers.local
    }

    /// The filter of the ids that exist, if one is kept.
    pub(super) fn filter(&self) -> Option<FilterId> {
        self.filter.get().copied()
    }

    /// What may be done at `now` with a marked entry.
    pub(super) fn use_of(&self, soft: &Soft, now: Mono) -> Use {
        let spend = self.pressure.get().map_or(0.0, |pressure| pressure.spend(now));
        governor::use_of(soft.mark.as_of, now, self.budget, spend, soft.lot)
    }
}

impl From<&Contract> for Policy {
    fn from(contract: &Contract) -> Self {
        Self {
            unproven: contract.unproven,
            ttl: contract.ttl,
            absent_ttl: contract.absent_ttl,
            tiers: if contract.is_cached() { contract.tiers } else { Tiers::NONE },
            priority: contract.priority,
            refresh: contract.refresh,
            stale_while_revalidate: contract.stale_while_revalidate,
            max_bytes: contract.max_size_bytes,
            immutable: contract.immutable,
            ..Self::new(&contract.name, contract.staleness)
        }
    }
}
