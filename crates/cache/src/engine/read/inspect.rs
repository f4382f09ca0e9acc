//! Inspection: the entries of each tier and how they would be served, for the auditor. Changes nothing.

use std::sync::Arc;
use std::time::Duration;

use coherence::governor::Decision;
use coherence::{Lsn, Mono, Subject, coverage};
use contract::{Key, Unproven};
use serde::{Deserialize, Serialize};

use crate::engine::answer::Tier;
use crate::engine::handle::Engine;
use crate::engine::load::age_bound_as_of;
use crate::engine::policy::Policy;
use crate::engine::rules::Rules;
use crate::engine::tiers::TierStack;
use crate::entry::{Content, Entry};
use crate::shared::{Outcome, TierError};
use crate::survey::Survey;

/// The entry of one tier under a key.
#[derive(Clone, Debug)]
pub struct TierEntry {
    /// The tier.
    pub tier: Tier,
    /// The entry, with the τ that it was stored under.
    pub entry: Arc<Entry>,
    /// A: the position that the tier has applied.
    pub applied: Lsn,
    /// The staleness bound that an answer would show now; `None`: nothing is proven.
    pub bound: Option<Duration>,
    /// How a reader would be served from it.
    pub served_as: ServedAs,
}

/// How a read now would be served from an entry.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ServedAs {
    /// As fresh by its contract.
    Fresh,
    /// As stale (the contract prefers an old answer to none), or as soft-stale (a commit has invalidated it,
    /// and the contract spends some of its budget).
    #[serde(rename = "marked")]
    Stale,
    /// Not from it: it has expired, or can't be proven.
    #[serde(rename = "no")]
    NotServed,
}

impl Engine {
    /// Returns the entries of this node's tiers under `key`. Fills nothing, counts as no hit, and touches
    /// nothing in the tiers of this process; Redis counts the inspection as a use.
    ///
    /// # Errors
    /// The shared tier failed.
    pub async fn inspect(&self, key: &Key, policy: &Policy) -> Result<Vec<TierEntry>, TierError> {
        let (tiers, rules) = (self.tiers(), &policy.rules);
        let mut found = Vec::new();
        found.extend(tiers.inspect_local(key, policy));
        if rules.tiers.shared {
            let limit = tiers.options.shared_timeout;
            let read = tokio::time::timeout(limit, tiers.shared.tier.inspect(key)).await;
            let read = read.unwrap_or(Err(TierError::Timeout(limit)))?;
            if let (Some(position), Outcome::Found { entry, remaining }) =
                (read.position, read.outcome)
            {
                let mappings = rules.mappings.of(&entry.tags);
                let is_usable = tiers.local.accepts(position, &mappings)
                    && coverage::is_of_definition(entry.definition, rules.definition);
                let as_of = match rules.is_age_bound() {
                    _ if !is_usable => None,
                    true => age_bound_as_of(tiers, rules, &entry, remaining),
                    false => tiers.local.proven_at(position.epoch, position.applied),
                };
                let is_usable =
                    is_usable && tiers.left_until_turn(rules, &entry, remaining).is_some();
                let stands = rules.prove_jointly(key, &entry, as_of);
                let (is_usable, as_of) = (is_usable && stands.is_some(), stands.flatten());
                let now = tiers.now();
                found.push(TierEntry {
                    tier: Tier::Shared,
                    entry: Arc::new(entry),
                    applied: position.applied,
                    bound: as_of.map(|as_of| now.since(as_of)),
                    served_as: match is_usable {
                        true => served_as(rules, rules.is_within_budget(as_of, now)),
                        false => ServedAs::NotServed,
                    },
                });
            }
        }
        found.retain(|found| !matches!(found.entry.content, Content::Uncacheable));
        Ok(found)
    }

    /// Counts the entries that a purge request for the subjects would remove now: from the in-process tier of
    /// this node, and from the shared tier. Removes nothing.
    ///
    /// # Errors
    /// The shared tier failed.
    pub async fn survey(&self, subjects: &[Subject]) -> Result<(Survey, Survey), TierError> {
        let tiers = self.tiers();
        let shared = tiers.shared.tier.survey(subjects).await?;
        Ok((tiers.local.survey(subjects, tiers.now()), shared))
    }

    /// As [`inspect`](Self::inspect), of the in-process tier alone.
    #[must_use]
    pub fn inspect_local(&self, key: &Key, policy: &Policy) -> Option<TierEntry> {
        let found = self.tiers().inspect_local(key, policy);
        found.filter(|found| !matches!(found.entry.content, Content::Uncacheable))
    }

    /// Returns the time at which this node learned that every commit up to `upto` is visible to all snapshots
    /// taken from then on, which is slightly later than the fact; `None`: not yet.
    #[must_use]
    pub fn visible_since(&self, upto: Lsn) -> Option<Mono> {
        self.tiers().local.visible_since(upto)
    }
}

impl TierStack {
    fn inspect_local(&self, key: &Key, policy: &Policy) -> Option<TierEntry> {
        let rules = &policy.rules;
        let found = self.local.peek(key).or_else(|| self.proven_absent(key, policy, None));
        let (entry, proven) = rules.prove_local(key, found.filter(|_| rules.tiers.local)?)?;
        if !rules.is_retained(&entry, &*self.clock) {
            return None;
        }
        let now = self.now();
        let as_of = entry.as_of(proven);
        let is_within_budget = rules.is_within_budget(as_of, now);
        let served_as = if let Some(soft) = entry.soft() {
            let is_served =
                now < entry.expires() && policy.governor_decision(soft, now) != Decision::Miss;
            if is_served { ServedAs::Stale } else { ServedAs::NotServed }
        } else if now < entry.expires() {
            served_as(rules, is_within_budget)
        } else {
            let is_late = is_within_budget && now < entry.expires() + rules.stale_while_revalidate;
            let is_stale = is_late
                || as_of.is_some_and(|as_of| {
                    entry.may_outlast_its_change()
                        && policy.decision_after_turn(as_of, &entry, now) != Decision::Miss
                });
            if is_stale { ServedAs::Stale } else { ServedAs::NotServed }
        };
        Some(TierEntry {
            tier: Tier::Local,
            applied: self.local.applied(),
            bound: as_of.map(|as_of| now.since(as_of)),
            entry: Arc::new(entry.to_entry()),
            served_as,
        })
    }
}

fn served_as(rules: &Rules, is_within_budget: bool) -> ServedAs {
    match rules.unproven {
        _ if is_within_budget => ServedAs::Fresh,
        Unproven::ServeStale => ServedAs::Stale,
        Unproven::ReadOrigin | Unproven::Fail => ServedAs::NotServed,
    }
}
