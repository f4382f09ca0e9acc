//! The rules that a kind of data is read by.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use coherence::{Clock, Mono};
use contract::{Class, Contract, Contracts, Evidence, PageEvidence, Refresh, Tag, Tiers, Unproven};

use super::foreign::ForeignProof;
use crate::local::{EntryPolicy, LocalEntry};
use crate::shared::Touch;

/// How one kind of data is read: the numbers of a contract, or of an edge route. Plain data, without the
/// [state](super::Policy) that reading by it accumulates, so a set of rules is replaced as a whole.
///
/// The fields that an in-process hit reads come first, so that they share a line of the processor's cache.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct Rules {
    /// The staleness that an answer may have. Zero: every answer is loaded after the read began.
    pub budget: Duration,
    /// The proof of entries that depend on the logs of other sources too; `None`: there are none.
    pub foreign: Option<Arc<dyn ForeignProof>>,
    /// The tiers that may store entries. None: each read calls the origin by itself, without single
    /// flight, since two readers of data that may not be stored may not share it either; except where
    /// [`collapses`](Self::collapses) is set.
    pub tiers: Tiers,
    /// Whether a value never changes under its key, so that no proof is needed.
    pub immutable: bool,
    /// The contract's name. It is a label in metrics, so the number of names must be small.
    pub name: Arc<str>,
    /// The rule for answers whose freshness can't be proven.
    pub unproven: Unproven,
    /// The TTL of an entry.
    pub ttl: Duration,
    /// The TTL of proven absence.
    pub absent_ttl: Duration,
    /// The time that an uncacheable answer is remembered as such.
    pub uncacheable_ttl: Duration,
    /// The touch for a use of an entry, if its TTL is sliding (that of absence is not).
    pub sliding: Option<Touch>,
    /// The time after its load past which an entry is never served.
    pub retention: Duration,
    /// Whether readers share a load in progress although no tier may store its answer: storing is
    /// forbidden by the place (data residency), not by the data.
    pub collapses: bool,
    /// The pool of in-process memory that entries belong to.
    pub pool: Class,
    /// The priority class of its loads, by which load is shed.
    pub priority: Class,
    /// The timeout of one load, if it is not the [gate's](super::admission::GateOptions::load_timeout).
    pub load_timeout: Option<Duration>,
    /// The time that a reader waits for a load in progress, if it is not the
    /// [engine's](super::EngineOptions::wait_timeout).
    pub wait_timeout: Option<Duration>,
    /// β of early refreshes, and the jitter of TTLs.
    pub refresh: Refresh,
    /// The time after its TTL during which an entry may be served while it is renewed.
    pub stale_while_revalidate: Duration,
    /// Larger answers are served but not stored.
    pub max_bytes: u64,
    /// The evidence that bounds are derived from.
    pub evidence: Evidence,
    /// The time by which the origin may lag behind the log; zero where a database is read.
    pub lag: Duration,
    /// The [definition](contract::Contract::definition_fingerprint) of its contract. An entry of another definition
    /// is not served. Zero: there is no contract.
    pub definition: u64,
    /// Whether this process's wall clock decides when a value changes without a commit, where no database's clock is known.
    pub follows_wall_clock: bool,
    /// Whether values change without a commit, by the primary's clock, so that no standby answers.
    pub changes_by_clock: bool,
    /// The mappings of row changes that its entries depend on. An entry is neither stored nor found while the leader
    /// does not apply all of them.
    pub mappings: Mappings,
}

/// The [mappings](contract::Contract::mapping_fingerprint) of row changes that entries depend on.
#[derive(Clone, Debug)]
pub enum Mappings {
    /// Those on which all entries depend.
    All(Arc<[u64]>),
    /// Those that may raise the entry's own tags.
    ByTags(Arc<PageEvidence>),
}

impl Default for Mappings {
    fn default() -> Self {
        Self::All(Arc::default())
    }
}

impl Mappings {
    /// Returns those that are known without the entry.
    pub(super) fn of_all(&self) -> &[u64] {
        match self {
            Self::All(mappings) => mappings,
            Self::ByTags(_) => &[],
        }
    }

    /// Returns those that an entry with these tags depends on.
    pub(super) fn of(&self, tags: &[Tag]) -> Cow<'_, [u64]> {
        match self {
            Self::All(mappings) => Cow::Borrowed(mappings),
            Self::ByTags(evidence) => Cow::Owned(evidence.mappings(tags)),
        }
    }
}

impl Rules {
    /// Creates rules for data without a contract, such as a route of the edge: both tiers, `read-origin`,
    /// standard priority, a TTL of twice the budget.
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
            sliding: None,
            retention: Duration::MAX,
            tiers: Tiers::ALL,
            collapses: false,
            pool: Class::Standard,
            priority: Class::Standard,
            load_timeout: None,
            wait_timeout: None,
            refresh: Refresh::default(),
            stale_while_revalidate: Duration::ZERO,
            max_bytes: 4 << 20,
            evidence: Evidence::Log,
            lag: Duration::ZERO,
            immutable: false,
            definition: 0,
            follows_wall_clock: true,
            changes_by_clock: false,
            mappings: Mappings::default(),
            foreign: None,
        }
    }

    /// Creates the rules of a contract among `contracts`, by whose mappings its entries are invalidated.
    #[must_use]
    pub fn of(contract: &Contract, contracts: &Contracts) -> Self {
        let mappings = contracts.mappings_of_entries(contract).into_iter().collect();
        Self { mappings: Mappings::All(mappings), ..Self::from(contract) }
    }

    /// Whether a commit may leave a soft-stale entry: there is a budget to spend, and changes matter.
    pub(super) fn allows_soft_stale(&self) -> bool {
        !self.immutable && !self.is_age_bound() && !self.budget.is_zero() && self.tiers.local
    }

    /// Whether only the time of its load proves an entry.
    pub(super) fn is_age_bound(&self) -> bool {
        self.evidence == Evidence::Age
    }

    /// Whether an answer that is proven as of `as_of` keeps the contract at `now`.
    #[inline]
    pub(super) fn is_within_budget(&self, as_of: Option<Mono>, now: Mono) -> bool {
        self.immutable || as_of.is_some_and(|as_of| now <= as_of + self.budget)
    }

    /// The policy of its entries in the in-process tier. `governor`: whether commits may leave soft-stale
    /// entries.
    pub(super) fn entry_policy(&self, governor: bool) -> EntryPolicy {
        EntryPolicy {
            soft_allowed: governor && self.allows_soft_stale(),
            age_bound: self.is_age_bound(),
            pool: self.pool,
        }
    }

    /// The longest life after a load, used or not.
    pub(super) fn max_lifetime(&self) -> Duration {
        let longest =
            self.sliding.map_or(self.retention, |touch| touch.max_lifetime.min(self.retention));
        // Past the budget its age excludes it from answers, even if TTL is left.
        if self.is_age_bound() { longest.min(self.budget) } else { longest }
    }

    /// Whether the entry is within its retention. By wall time: it may be older than this process.
    pub(super) fn is_retained(&self, entry: &LocalEntry, clock: &dyn Clock) -> bool {
        let age = || Duration::from_millis(clock.wall_ms().saturating_sub(entry.loaded_wall_ms));
        self.retention == Duration::MAX || age() < self.retention
    }
}

impl From<&Contract> for Rules {
    fn from(contract: &Contract) -> Self {
        let aged = contract.evidence() == Evidence::Age;
        Self {
            unproven: contract.unproven,
            ttl: contract.ttl,
            absent_ttl: contract.absent_ttl,
            sliding: contract.max_lifetime().filter(|_| !aged).map(Touch::within),
            retention: contract.retention.unwrap_or(Duration::MAX),
            tiers: if contract.is_cached() { contract.tiers } else { Tiers::NONE },
            collapses: contract.residency_excluded,
            pool: contract.pool,
            priority: contract.priority,
            refresh: contract.refresh,
            stale_while_revalidate: contract.stale_while_revalidate,
            max_bytes: contract.max_size_bytes,
            evidence: contract.evidence(),
            lag: contract.lag,
            immutable: contract.immutable,
            definition: contract.definition_fingerprint(),
            follows_wall_clock: contract.value.is_none(),
            changes_by_clock: contract.changes_at.is_some(),
            ..Self::new(&contract.name, contract.staleness)
        }
    }
}
