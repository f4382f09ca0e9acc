//! Atomic batches: all answers are from a single snapshot.
//!
//! First the tiers: their entries form a snapshot if [`coherence::atomic`] finds a position that all of them
//! cover. Otherwise the origin, which reads all keys, including those that the tiers have, from one snapshot.

use std::collections::BTreeMap;
use std::sync::Arc;

use coherence::atomic::{Span, common_snapshot};
use coherence::{CausalToken, Mono, Reached};
use contract::{Key, Unproven};

use super::item::Item;
use crate::engine::answer::{Answer, Stale, Tier};
use crate::engine::coalesce::{KeySet, SetOutcome};
use crate::engine::error::ReadError;
use crate::engine::handle::Engine;
use crate::engine::load::{LoadContext, LoadOutcome, LoadRequest, Loader};
use crate::engine::metrics::batches::BatchKind;
use crate::engine::read::{ReplyVerdict, SharedLookup};
use crate::engine::rules::Rules;
use crate::engine::tiers::{TierStack, TokenDeadline};
use crate::local::{LocalEntry, LocalSnapshot};
use crate::shared::SharedRead;

/// Answers that one snapshot of the database would have shown together.
#[derive(Debug)]
pub struct AtomicBatch {
    /// In the order of the items. An item that failed fails alone: the others are from one snapshot.
    pub answers: Vec<Result<Answer, ReadError>>,
    /// The tier that answered: the in-process tier alone, the shared tier (with or without the in-process
    /// one), or the origin with one snapshot.
    pub by: Tier,
}

/// An entry that a tier can answer from.
struct Candidate {
    entry: LocalEntry,
    tier: Tier,
    span: Span,
    as_of: Option<Mono>,
    stale: Option<Stale>,
}

/// The result of a lookup in the tiers.
struct TierLookup {
    found: Vec<Option<Candidate>>,
    /// The context of a load.
    context: LoadContext,
}

impl Engine {
    /// Reads all of the items from one snapshot of the database, whichever tiers the answers come from. Makes
    /// at most one round trip to the shared tier and one to the origin. Each answer keeps its own contract;
    /// no soft-stale entry is among them.
    ///
    /// # Errors
    /// As [`get_after`](Self::get_after), for all of them; [`ReadError::NoCommonSnapshot`] where the origins
    /// have no common snapshot.
    pub async fn get_atomic(
        &self,
        items: &[Item],
        after: Option<CausalToken>,
    ) -> Result<AtomicBatch, ReadError> {
        let metrics = &self.tiers().metrics;
        metrics.batches.requested(BatchKind::Atomic, items.len());
        let batch = self.read_atomic(items, after).await;
        metrics.batches.answered(batch.as_ref().map_or("none", |batch| batch.by.as_str()));
        if let Err(err) = &batch {
            for item in items {
                metrics.read(&item.policy.rules, "none", err.as_str());
            }
        }
        batch
    }

    async fn read_atomic(
        &self,
        items: &[Item],
        after: Option<CausalToken>,
    ) -> Result<AtomicBatch, ReadError> {
        let tiers = self.tiers();
        let Some(first) = items.first() else {
            return Ok(AtomicBatch { answers: Vec::new(), by: Tier::Local });
        };
        if items.iter().any(|item| item.origin.name() != first.origin.name()) {
            return Err(ReadError::NoCommonSnapshot);
        }
        let deadline = tiers.token_deadline(after);
        let asked = tiers.now();
        let TierLookup { found, context } = tiers.lookup_atomic(items, deadline).await?;
        if let Some(found) = found.into_iter().collect::<Option<Vec<_>>>() {
            let is_shared = found.iter().any(|found| found.tier == Tier::Shared);
            let answers = items.iter().zip(found);
            let answers = answers.map(|(item, found)| Ok(tiers.answer_candidate(item, found)));
            let by = if is_shared { Tier::Shared } else { Tier::Local };
            return Ok(AtomicBatch { answers: answers.collect(), by });
        }
        let (loaded, joined) = self.join_or_load_set(items, deadline, asked, context).await?;
        let answers = items.iter().map(|item| {
            let rules = &item.policy.rules;
            match loaded.get(&item.key).cloned().unwrap_or(Err(ReadError::Aborted)) {
                Ok(outcome) => Ok(tiers.answer(rules, outcome, joined)),
                Err(err) => {
                    tiers.metrics.read(rules, "none", err.as_str());
                    Err(err)
                }
            }
        });
        Ok(AtomicBatch { answers: answers.collect(), by: Tier::Origin })
    }

    /// Joins the load of the same set of keys, or starts one. Repeats while the outcome of a joined load does
    /// not satisfy this reader.
    async fn join_or_load_set(
        &self,
        items: &[Item],
        deadline: Option<TokenDeadline>,
        asked: Mono,
        context: LoadContext,
    ) -> Result<(SetOutcome, bool), ReadError> {
        let (inner, tiers) = (&self.inner, self.tiers());
        let requests = items.iter().map(|item| (item.key.clone(), item.request(false, deadline)));
        let requests: BTreeMap<Key, LoadRequest> = requests.collect();
        // Two readers of data that may not be stored may not share it either.
        let may_join = items.iter().all(|item| !item.policy.rules.tiers.is_none());
        let set: KeySet = requests.keys().cloned().collect();
        loop {
            let (waiter, guard) = inner.coalescer.join_set(&set, may_join);
            let joined = guard.is_none();
            if let Some(guard) = guard {
                let (inner, requests) = (Arc::clone(inner), requests.clone());
                tokio::spawn(async move {
                    guard.finish(inner.loader.load_set(&requests, context).await);
                });
            }
            let left = tiers.options.wait_timeout.saturating_sub(tiers.now().since(asked));
            let Ok(outcome) = tokio::time::timeout(left, waiter.outcome()).await else {
                return Err(ReadError::WaitTimeout(tiers.now().since(asked)));
            };
            let loaded = outcome?;
            let satisfies = items.iter().all(|item| match loaded.get(&item.key) {
                Some(Ok(outcome)) => {
                    item.policy.rules.is_within_budget(outcome.as_of, asked)
                        && outcome.satisfies(deadline, asked)
                }
                _ => true,
            });
            if !joined || satisfies {
                return Ok((loaded, joined));
            }
        }
    }
}

impl TierStack {
    /// Looks the items up in the tiers. Either all of them are found and form a snapshot, or some are
    /// missing.
    async fn lookup_atomic(
        &self,
        items: &[Item],
        deadline: Option<TokenDeadline>,
    ) -> Result<TierLookup, ReadError> {
        let mut context = LoadContext { shared: true, ..self.local_context() };
        let snapshot = self.local_snapshot(items, deadline).await;
        let (mut found, unproven) = self.local_candidates(items, &snapshot);
        if !form_snapshot(&found) {
            // Each may be usable by itself; the shared tier may have applied more of the log.
            found.iter_mut().for_each(|found| *found = None);
        }
        let missing = || items.iter().zip(&found).filter(|(_, found)| found.is_none());
        let is_shared = missing().all(|(item, _)| item.policy.rules.tiers.shared);
        let keys = missing().map(|(item, _)| (item.key.clone(), self.touch(&item.policy.rules)));
        let (keys, touches): (Vec<Key>, Vec<_>) = keys.unzip();
        if is_shared && !keys.is_empty() {
            let Some(reads) = self.read_many(&keys, &touches, false).await else {
                context.shared = false;
                return Ok(TierLookup { found, context });
            };
            let mut reads = reads.into_iter();
            let mut is_usable = true;
            for (item, found) in items.iter().zip(&mut found) {
                let Some(read) = (if found.is_none() { reads.next() } else { None }) else {
                    continue;
                };
                if let Some(position) = read.position {
                    context.position = self.fill_position(&item.policy.rules, position);
                    is_usable &= context.position.is_some();
                }
                *found = self.shared_candidate(&item.request(false, deadline), read)?;
            }
            context.position = context.position.filter(|_| is_usable);
        }
        if found.iter().any(Option::is_none) || !form_snapshot(&found) {
            if let Some(err) = unproven {
                return Err(err);
            }
            // None of them counts without the others.
            found.iter_mut().for_each(|found| *found = None);
        }
        Ok(TierLookup { found, context })
    }

    /// The candidates of the in-process tier, with the error for an item that is unproven and whose contract
    /// says `fail`.
    fn local_candidates(
        &self,
        items: &[Item],
        snapshot: &LocalSnapshot,
    ) -> (Vec<Option<Candidate>>, Option<ReadError>) {
        let now = self.now();
        let mut unproven = None;
        let found = items.iter().zip(&snapshot.entries).map(|(item, entry)| {
            let rules = &item.policy.rules;
            let is_usable =
                |entry: &&LocalEntry| rules.tiers.local && rules.is_retained(entry, &*self.clock);
            let entry = entry.as_ref().filter(is_usable)?;
            match local_candidate(rules, entry, snapshot, now)? {
                Ok(candidate) => Some(candidate),
                Err(as_of) => {
                    unproven = Some(self.unproven_error(rules, as_of));
                    None
                }
            }
        });
        (found.collect(), unproven)
    }

    /// The candidate in a reply of the shared tier.
    fn shared_candidate(
        &self,
        request: &LoadRequest,
        read: SharedRead,
    ) -> Result<Option<Candidate>, ReadError> {
        let position = read.position;
        let verdict = self.judge_reply(request, read)?;
        // After a failover the database reports positions of another log.
        let position = position.filter(|position| self.local.follows(position.epoch));
        let (Some(position), ReplyVerdict::Done(SharedLookup::Found(outcome))) =
            (position, verdict)
        else {
            return Ok(None);
        };
        let (log, seen) = (position.epoch.log(), outcome.entry.seen);
        let span = Span { log, seen, upto: position.applied };
        let LoadOutcome { entry, tier, as_of, stale, .. } = outcome;
        Ok(Some(Candidate { entry, tier, span, as_of, stale }))
    }

    /// A snapshot of the in-process tier that has reached the token.
    async fn local_snapshot(
        &self,
        items: &[Item],
        deadline: Option<TokenDeadline>,
    ) -> LocalSnapshot {
        let take = || {
            let keys = items.iter().map(|item| (&item.key, item.policy.filter()));
            self.local.snapshot(keys, self.now())
        };
        let snapshot = take();
        let Some(deadline) = deadline else { return snapshot };
        let has_reached = |snapshot: &LocalSnapshot| {
            deadline.token.reached(snapshot.epoch, snapshot.applied) == Reached::Yes
        };
        if has_reached(&snapshot) {
            return snapshot;
        }
        if snapshot.entries.iter().any(Option::is_some) && self.wait_for_token(deadline).await {
            let snapshot = take();
            if has_reached(&snapshot) {
                return snapshot;
            }
        }
        let entries = snapshot.entries.iter().map(|_| None).collect();
        LocalSnapshot { entries, ..snapshot }
    }

    fn answer_candidate(&self, item: &Item, found: Candidate) -> Answer {
        let rules = &item.policy.rules;
        let Candidate { entry, tier, as_of, stale, .. } = found;
        match (tier, stale) {
            (Tier::Local, None) => {
                let now = self.now();
                self.record_use(&item.key, rules, &entry, now);
                self.count_hit(&item.policy);
                Answer::local(entry, as_of, now, None)
            }
            (Tier::Local, Some(stale)) => self.stale_answer(rules, entry, as_of, stale),
            _ => {
                let (stored, epoch, body) = (None, None, None);
                let outcome = LoadOutcome { entry, tier, as_of, stale, stored, epoch, body };
                self.answer(rules, outcome, false)
            }
        }
    }
}

impl Loader {
    /// Loads a set of keys from one snapshot.
    async fn load_set(
        &self,
        requests: &BTreeMap<Key, LoadRequest>,
        context: LoadContext,
    ) -> Result<SetOutcome, ReadError> {
        let contexts: Vec<_> = requests.values().map(|request| (request, context)).collect();
        let (outcomes, is_one_snapshot) = self.load_group(&contexts, true).await;
        if !is_one_snapshot {
            // The first failure is more specific, where there is one.
            let failed = outcomes.into_iter().find_map(Result::err);
            return Err(failed.unwrap_or(ReadError::NoCommonSnapshot));
        }
        Ok(Arc::new(requests.keys().cloned().zip(outcomes).collect()))
    }
}

/// Whether one snapshot of the database could have shown all of the candidates.
fn form_snapshot(found: &[Option<Candidate>]) -> bool {
    common_snapshot(found.iter().flatten().map(|found| found.span)).is_some()
}

/// The entry of the in-process tier as a candidate, if it may be served. `Err`: it is unproven, and its
/// contract says `fail`.
fn local_candidate(
    rules: &Rules,
    entry: &LocalEntry,
    snapshot: &LocalSnapshot,
    now: Mono,
) -> Option<Result<Candidate, Option<Mono>>> {
    let is_excluded = entry.is_soft() || entry.is_uncacheable();
    if is_excluded || now >= entry.expires() {
        return None;
    }
    let as_of = entry.as_of(snapshot.proven);
    let stale = match rules.unproven {
        _ if rules.is_within_budget(as_of, now) => None,
        Unproven::ServeStale => Some(Stale::Unproven),
        Unproven::ReadOrigin => return None,
        Unproven::Fail => return Some(Err(as_of)),
    };
    let span = snapshot.span(entry)?;
    Some(Ok(Candidate { entry: entry.clone(), tier: Tier::Local, span, as_of, stale }))
}
