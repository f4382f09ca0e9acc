//! A policy: rules with the state that reading by them accumulates.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use coherence::Mono;
use coherence::governor::{self, Decision};
use contract::Contract;

use super::admission::Pressure;
use super::rules::Rules;
use super::striped_counter::StripedCounter;
use crate::local::{FilterId, LocalEntry, SoftExtension};

/// How one kind of data is read, and the state of reading it.
///
/// Make one per contract and keep it: it also counts the contract's hits.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Policy {
    /// The rules.
    pub rules: Rules,
    pub(super) state: PolicyState,
}

/// The state of a policy.
#[derive(Debug, Default)]
pub(super) struct PolicyState {
    /// Plain hits in the in-process tier.
    pub(super) hits: Arc<StripedCounter>,
    /// Whether the metrics collect the hits.
    pub(super) registered: AtomicBool,
    /// The pressure on the origin that it loads from; set by the first load.
    pub(super) pressure: OnceLock<Arc<Pressure>>,
    /// The filter of the ids that exist, once it is [kept](super::Engine::keep_filter).
    pub(super) filter: OnceLock<FilterId>,
}

impl Policy {
    /// Creates a policy that nothing has been read by.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self { rules, state: PolicyState::default() }
    }

    /// Creates a policy with other rules and the state of this one: its hits are added to the same count, and
    /// pressure and key filter are known from the first read.
    #[must_use]
    pub fn with_rules(&self, rules: Rules) -> Self {
        let PolicyState { hits, registered, pressure, filter } = &self.state;
        let state = PolicyState {
            hits: Arc::clone(hits),
            registered: registered.load(Ordering::Relaxed).into(),
            pressure: pressure.clone(),
            filter: filter.clone(),
        };
        Self { rules, state }
    }

    /// The filter of the ids that exist, if one is kept.
    pub(super) fn filter(&self) -> Option<FilterId> {
        self.state.filter.get().copied()
    }

    /// The use that may be made of a soft-stale entry at `now`.
    pub(super) fn governor_decision(&self, soft: &SoftExtension, now: Mono) -> Decision {
        governor::decide(soft.proof.as_of, now, self.rules.budget, self.spend(now), soft.draw)
    }

    /// The use that may be made at `now` of an entry that is proven as of `as_of`, the time at which its value changed
    /// by the clock.
    pub(super) fn decision_after_turn(
        &self,
        as_of: Mono,
        entry: &LocalEntry,
        now: Mono,
    ) -> Decision {
        // The time of its load, in ns, is as good as a random number, and stays the same.
        let draw = (entry.loaded.0 % 1_000_003) as f64 / 1_000_003.0;
        governor::decide(as_of, now, self.rules.budget, self.spend(now), draw)
    }

    /// The share of its budget that the contract may spend at `now`.
    fn spend(&self, now: Mono) -> f64 {
        self.state.pressure.get().map_or(0.0, |pressure| pressure.spend(now))
    }
}

impl From<&Contract> for Policy {
    fn from(contract: &Contract) -> Self {
        Self::new(contract.into())
    }
}
