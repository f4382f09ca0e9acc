//! The lookup in the in-process tier, judged by the policy.

use coherence::governor::{self, Decision};
use coherence::{CausalToken, Mono};
use contract::{Key, freshness};

use crate::engine::load::refresh_from;
use crate::engine::policy::Policy;
use crate::engine::rules::Rules;
use crate::engine::tiers::TierStack;
use crate::local::LocalEntry;

/// The result of a local lookup.
pub(crate) enum LocalLookup {
    /// Fresh. `refresh`: this reader has to start an early refresh.
    Fresh { entry: LocalEntry, as_of: Option<Mono>, refresh: bool },
    /// Soft-stale, and its contract may spend that much of its budget. `refresh`: this reader has to start
    /// a refresh.
    Soft { entry: LocalEntry, as_of: Mono, refresh: bool },
    /// Not invalidated, but not proven to be within the budget.
    Unproven { entry: LocalEntry, as_of: Option<Mono> },
    /// Past its TTL.
    Expired { entry: LocalEntry, as_of: Option<Mono>, is_within_budget: bool },
    /// No entry, and a key filter proves that there is no such row.
    Absent { entry: LocalEntry, as_of: Option<Mono> },
    /// The answer is known to be uncacheable.
    Uncacheable,
    /// No usable entry.
    Miss,
}

impl TierStack {
    /// Looks a key up in the in-process tier. With a token: no entry that may lack the token's write.
    pub(crate) fn lookup_local(
        &self,
        key: &Key,
        policy: &Policy,
        token: Option<CausalToken>,
    ) -> LocalLookup {
        let rules = &policy.rules;
        if token.is_some() && rules.is_age_bound() {
            return LocalLookup::Miss;
        }
        let Some((entry, proven)) = self.get_local(key, rules, token) else {
            return self.lookup_filter(key, policy, token);
        };
        // Read after the entry was fetched: a delay in between makes the bound larger, not smaller.
        let now = self.now();
        if entry.is_uncacheable() {
            let is_current = now < entry.expires();
            return if is_current { LocalLookup::Uncacheable } else { LocalLookup::Miss };
        }
        if !rules.tiers.local || !rules.is_retained(&entry, &*self.clock) {
            return LocalLookup::Miss;
        }
        if entry.is_soft() {
            return soft_lookup(policy, entry, now);
        }
        let as_of = entry.as_of(proven);
        let is_within_budget = rules.is_within_budget(as_of, now);
        if now >= entry.expires() {
            if let absent @ LocalLookup::Absent { .. } = self.lookup_filter(key, policy, token) {
                return absent;
            }
            return expired_lookup(policy, entry, as_of, now);
        }
        if !is_within_budget {
            return LocalLookup::Unproven { entry, as_of };
        }
        self.record_use(key, rules, &entry, now);
        let refresh = self.is_refresh_due(rules, &entry, now);
        LocalLookup::Fresh { entry, as_of, refresh }
    }

    /// Asks the key filter about a key without an entry.
    fn lookup_filter(&self, key: &Key, policy: &Policy, token: Option<CausalToken>) -> LocalLookup {
        let Some((entry, as_of)) = self.proven_absent(key, policy, token) else {
            return LocalLookup::Miss;
        };
        let now = self.now();
        // Also where values never change: an absent row may still be inserted.
        let is_proven = as_of.is_some_and(|as_of| now.since(as_of) <= policy.rules.budget);
        if is_proven { LocalLookup::Absent { entry, as_of } } else { LocalLookup::Miss }
    }

    /// Whether this reader's draw makes an early refresh due (XFetch).
    fn is_refresh_due(&self, rules: &Rules, entry: &LocalEntry, now: Mono) -> bool {
        // A use prolongs a sliding TTL: such an entry is refreshed early only once its end is fixed.
        if entry.fast_path().is_open(now) || !entry.is_at_max_lifetime() {
            return false;
        }
        let cost = u64::try_from(entry.cost().as_nanos()).unwrap_or(u64::MAX);
        // unit() is in [0, 1), the draw in (0, 1].
        let draw = 1.0 - self.options.chance.unit();
        freshness::xfetch_due(now.0, entry.expires().0, cost, rules.refresh.beta, draw)
    }

    /// Records a use: an answer from an entry of the in-process tier that is proven to be within its
    /// contract.
    #[inline]
    pub(crate) fn record_use(&self, key: &Key, rules: &Rules, entry: &LocalEntry, now: Mono) {
        if rules.sliding.is_some() {
            self.record_sliding_use(key, rules, entry, now);
        }
    }

    fn record_sliding_use(&self, key: &Key, rules: &Rules, entry: &LocalEntry, now: Mono) {
        let refresh_from = |ends: Mono| refresh_from(rules, ends, ends.since(now), entry.cost());
        if entry.record_use(now, refresh_from)
            && rules.tiers.shared
            && let Some(touch) = self.touch(rules)
        {
            self.touches.add(key, touch);
        }
    }
}

/// The lookup of an entry past its TTL, or whose value has changed by the clock. Many values may change at one time, such as
/// the start of a sale: under pressure the governor spends budget for them as it does after a commit.
fn expired_lookup(
    policy: &Policy,
    entry: LocalEntry,
    as_of: Option<Mono>,
    now: Mono,
) -> LocalLookup {
    let changed = as_of.filter(|_| entry.may_outlast_its_change());
    if let Some(as_of) = changed
        && let Decision::Serve { refresh } = policy.decision_after_turn(as_of, &entry, now)
    {
        return LocalLookup::Soft { entry, as_of, refresh };
    }
    let is_within_budget = policy.rules.is_within_budget(as_of, now);
    LocalLookup::Expired { entry, as_of, is_within_budget }
}

fn soft_lookup(policy: &Policy, entry: LocalEntry, now: Mono) -> LocalLookup {
    let Some(soft) = entry.soft() else { return LocalLookup::Miss };
    let Decision::Serve { refresh } = policy.governor_decision(soft, now) else {
        return LocalLookup::Miss;
    };
    if now >= entry.expires() {
        return LocalLookup::Miss;
    }
    let as_of = soft.proof.as_of;
    let next = now + governor::retry_after(policy.rules.budget);
    let refresh = refresh && soft.claim_refresh(now, next);
    LocalLookup::Soft { entry, as_of, refresh }
}
