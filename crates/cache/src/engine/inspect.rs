//! Looking without touching: what each tier holds and would answer, for the auditor.

use std::sync::Arc;
use std::time::Duration;

use coherence::governor::Use;
use coherence::{Lsn, Mono, Subject};
use contract::{Key, Unproven};
use serde::{Deserialize, Serialize};

use super::load::within;
use super::{Engine, Inner, Policy, Tier};
use crate::audit::{Note, Witness};
use crate::entry::{Content, Entry};
use crate::shared::{Outcome, TierError};
use crate::survey::Survey;

/// What one tier holds under a key.
#[derive(Clone, Debug)]
pub struct Holding {
    /// Which tier.
    pub tier: Tier,
    /// What it holds, with the τ that it was stored under.
    pub entry: Arc<Entry>,
    /// A: what the tier has applied.
    pub applied: Lsn,
    /// The staleness bound that an answer would show now; `None`: nothing is proven.
    pub bound: Option<Duration>,
    /// Whether a reader would be given it, and how.
    pub answers: Answers,
}

/// What a reader who asks now would be given of a held entry.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Answers {
    /// The entry, as fresh by its contract.
    Fresh,
    /// The entry, marked as stale (the contract prefers an old answer to none), or as soft (a commit
    /// has made it old, and the contract spends some of its budget).
    Marked,
    /// Something else: it has expired, or can't be proven.
    No,
}

impl Engine {
    /// What each tier of this node holds under `key`. Fills nothing, counts as no hit, extends and
    /// warms nothing in the tiers of this process; Redis counts the look as a use.
    ///
    /// # Errors
    /// The shared tier failed.
    pub async fn inspect(&self, key: &Key, policy: &Policy) -> Result<Vec<Holding>, TierError> {
        let inner = &self.inner;
        let mut found = Vec::new();
        found.extend(inner.inspect_local(key, policy));
        if policy.tiers.shared {
            let shared =
                tokio::time::timeout(inner.options.shared_timeout, inner.port.tier.inspect(key));
            let limit = inner.options.shared_timeout;
            let read = shared.await.unwrap_or(Err(TierError::Timeout(limit)))?;
            if let (Some(standing), Outcome::Found { entry, remaining }) =
                (read.standing, read.outcome)
            {
                let as_of = match policy.is_aged() {
                    true => inner.aged(policy, &entry, remaining),
                    false => inner.local.proven_at(standing.epoch, standing.applied),
                };
                let now = inner.clock.mono();
                found.push(Holding {
                    tier: Tier::Shared,
                    entry: Arc::new(entry),
                    applied: standing.applied,
                    bound: as_of.map(|as_of| now.since(as_of)),
                    answers: answers(policy, within(policy, as_of, now)),
                });
            }
        }
        found.retain(|holding| !matches!(holding.entry.content, Content::Uncacheable));
        Ok(found)
    }

    /// What an order about the subjects would remove now: from the in-process tier of this node, and
    /// from the shared tier. Removes nothing.
    ///
    /// # Errors
    /// The shared tier failed.
    pub async fn survey(&self, subjects: &[Subject]) -> Result<(Survey, Survey), TierError> {
        let inner = &self.inner;
        let shared = inner.port.tier.survey(subjects).await?;
        Ok((inner.local.survey(subjects, inner.clock.mono()), shared))
    }

    /// As [`inspect`](Self::inspect), of the tier in this process alone.
    #[must_use]
    pub fn inspect_local(&self, key: &Key, policy: &Policy) -> Option<Holding> {
        let holding = self.inner.inspect_local(key, policy);
        holding.filter(|holding| !matches!(holding.entry.content, Content::Uncacheable))
    }

    /// When this node heard that every commit up to `upto` is visible to all snapshots taken from then on.
    /// It hears that a moment later than it is so; `None`: not yet.
    #[must_use]
    pub fn shown(&self, upto: Lsn) -> Option<Mono> {
        self.inner.local.shown(upto)
    }

    /// Has `witness` told of every load, fill and event from now on; the first one stays.
    pub fn witness(&self, witness: Arc<dyn Witness>) {
        let _ = self.inner.witness.set(witness);
    }
}

impl Inner {
    fn inspect_local(&self, key: &Key, policy: &Policy) -> Option<Holding> {
        let held = self.local.peek(key).or_else(|| self.absent(key, policy, None));
        let (held, proven) = held.filter(|_| policy.tiers.local)?;
        if !policy.may_keep(&held, &*self.clock) {
            return None;
        }
        let now = self.clock.mono();
        let as_of = held.as_of(proven);
        let within = within(policy, as_of, now);
        let answers = if let Some(soft) = held.soft() {
            let served = now < held.expires() && policy.use_of(soft, now) != Use::Miss;
            if served { Answers::Marked } else { Answers::No }
        } else if now < held.expires() {
            answers(policy, within)
        } else if within && now < held.expires() + policy.stale_while_revalidate {
            Answers::Marked
        } else {
            Answers::No
        };
        Some(Holding {
            tier: Tier::Local,
            applied: self.local.applied(),
            bound: as_of.map(|as_of| now.since(as_of)),
            entry: Arc::new(Entry::clone(&held)),
            answers,
        })
    }

    /// Tells the witness, if there is one.
    #[inline]
    pub(super) fn tell(&self, note: impl FnOnce() -> Note) {
        if let Some(witness) = self.witness.get() {
            witness.note(note());
        }
    }
}

fn answers(policy: &Policy, within: bool) -> Answers {
    match policy.unproven {
        _ if within => Answers::Fresh,
        Unproven::ServeStale => Answers::Marked,
        Unproven::ReadOrigin | Unproven::Fail => Answers::No,
    }
}
