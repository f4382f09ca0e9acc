//! Batches: many keys, one round trip to each tier.
//!
//! One lookup in the in-process tier; one call to the shared tier for the keys that are missing there, with
//! leases as for single reads; one load per origin for the keys that are not being loaded. Loads in progress,
//! here or on another node, are waited for.

use std::sync::Arc;

use coherence::CausalToken;
use contract::Key;
use futures_util::future::join_all;

use super::item::Item;
use crate::engine::answer::Answer;
use crate::engine::coalesce::FlightGuard;
use crate::engine::error::ReadError;
use crate::engine::handle::{Engine, Inner};
use crate::engine::load::{LoadContext, LoadOutcome, LoadRequest};
use crate::engine::metrics::batches::BatchKind;
use crate::engine::read::{ActiveRead, LocalOutcome, ReplyVerdict, SharedLookup, UnprovenEntry};
use crate::shared::SharedRead;

/// A flight that a batch has started.
type Flight = (LoadRequest, FlightGuard<Key, LoadOutcome>);

impl Engine {
    /// As [`get_after`](Self::get_after) for each item, with one round trip to each tier and to each origin,
    /// however many items there are. Returns the answers in the order of the items.
    ///
    /// The answers may be from different snapshots, as those of single reads may;
    /// [`get_atomic`](Self::get_atomic) guarantees one snapshot.
    pub async fn get_many(
        &self,
        items: &[Item],
        after: Option<CausalToken>,
    ) -> Vec<Result<Answer, ReadError>> {
        let (inner, tiers) = (&self.inner, self.tiers());
        tiers.metrics.batches.requested(BatchKind::Plain, items.len());
        let deadline = tiers.token_deadline(after);
        if let Some(deadline) = deadline
            && items.iter().any(|item| tiers.lags_behind(&item.key, &item.policy, deadline))
        {
            tiers.wait_for_token(deadline).await;
        }
        let asked = tiers.now();
        let mut answers: Vec<Option<Result<Answer, ReadError>>> = Vec::new();
        answers.resize_with(items.len(), || None);
        let (mut bypassing, mut waiting, mut flights) = (Vec::new(), Vec::new(), Vec::new());
        for (at, item) in items.iter().enumerate() {
            let request = |refresh| item.request(refresh, deadline);
            match self.read_local(&item.key, &item.policy, after, asked, &request) {
                LocalOutcome::Answer(answer) => answers[at] = Some(Ok(answer)),
                LocalOutcome::Bypass => bypassing.push((at, request(false))),
                LocalOutcome::Miss => {
                    let (waiter, guard) =
                        inner.coalescer.keys.join(&item.key, false, item.origin.party());
                    let joined = guard.is_none();
                    flights.extend(guard.map(|guard| (request(false), guard)));
                    waiting.push((at, request(false), ActiveRead { asked, waiter, joined }));
                }
            }
        }
        if !flights.is_empty() {
            tokio::spawn(Arc::clone(inner).run_flights(flights));
        }
        let waited = join_all(waiting.into_iter().map(|(at, request, read)| async move {
            let answer = self.await_load(&request, read).await;
            let covered =
                |err| self.tiers().stale_if_error(&request.key, &request.policy, after, err);
            (at, answer.or_else(covered))
        }));
        let (waited, bypassed) = tokio::join!(waited, inner.load_each_unshared(&bypassing));
        for (at, answer) in waited.into_iter().chain(bypassed) {
            answers[at] = Some(answer);
        }
        answers.into_iter().map(|answer| answer.unwrap_or(Err(ReadError::Aborted))).collect()
    }
}

impl Inner {
    /// Runs the flights of a batch.
    async fn run_flights(self: Arc<Self>, flights: Vec<Flight>) {
        let tiers = self.tiers();
        let mut missing = Vec::with_capacity(flights.len());
        for (request, guard) in flights {
            match tiers.recheck_local(&request) {
                Ok(outcome) => guard.finish(Ok(outcome)),
                Err(unproven) => missing.push((request, guard, unproven)),
            }
        }
        let shared = missing.iter().filter(|(request, ..)| request.rules().tiers.shared);
        let shared =
            shared.map(|(request, ..)| (request.key.clone(), tiers.touch(request.rules())));
        let (keys, touches): (Vec<Key>, Vec<_>) = shared.unzip();
        let reads = tiers.read_many(&keys, &touches, true).await.unwrap_or_default();
        let mut reads = reads.into_iter();
        let mut loads = Vec::new();
        for (request, guard, unproven) in missing {
            let read = if request.rules().tiers.shared { reads.next() } else { None };
            match self.next_step(&request, read, unproven).await {
                NextStep::Finish(outcome) => guard.finish(*outcome),
                NextStep::Load(context) => loads.push((request, guard, context)),
                NextStep::RunAlone => {
                    tokio::spawn(Arc::clone(&self).run_flight(request, guard));
                }
            }
        }
        let requests: Vec<_> =
            loads.iter().map(|(request, _, context)| (request, *context)).collect();
        let outcomes = self.loader.load_all(&requests).await;
        for ((_, guard, _), outcome) in loads.into_iter().zip(outcomes) {
            guard.finish(outcome);
        }
    }

    async fn next_step(
        &self,
        request: &LoadRequest,
        read: Option<SharedRead>,
        unproven: Option<UnprovenEntry>,
    ) -> NextStep {
        let tiers = self.tiers();
        let verdict = match read {
            Some(read) => tiers.judge_reply(request, read),
            None => Ok(ReplyVerdict::Done(SharedLookup::Load(tiers.local_context()))),
        };
        match verdict {
            Ok(ReplyVerdict::Done(SharedLookup::Found(outcome))) => {
                NextStep::Finish(Box::new(Ok(outcome)))
            }
            Ok(ReplyVerdict::Done(SharedLookup::Load(context))) => {
                match tiers.apply_unproven_policy(request, unproven, context).await {
                    Some(outcome) => NextStep::Finish(Box::new(outcome)),
                    None => NextStep::Load(context),
                }
            }
            Ok(ReplyVerdict::Wait(_) | ReplyVerdict::Behind(_)) => NextStep::RunAlone,
            Err(err) => NextStep::Finish(Box::new(Err(err))),
        }
    }

    /// Loads the items that no tier may store, for this reader only.
    async fn load_each_unshared(
        &self,
        requests: &[(usize, LoadRequest)],
    ) -> Vec<(usize, Result<Answer, ReadError>)> {
        let tiers = self.tiers();
        let contexts = requests.iter();
        let contexts =
            contexts.map(|(_, request)| (request, self.loader.unshared_context(request)));
        let outcomes = self.loader.load_all(&contexts.collect::<Vec<_>>()).await.into_iter();
        let answers = requests.iter().zip(outcomes).map(|((at, request), outcome)| {
            let answer = outcome.and_then(|outcome| tiers.answer_of(request, outcome, false));
            if let Err(err) = &answer {
                tiers.metrics.read(request.rules(), "none", err.as_str());
            }
            (*at, answer)
        });
        answers.collect()
    }
}

/// The next step of one flight of a batch.
enum NextStep {
    Finish(Box<Result<LoadOutcome, ReadError>>),
    Load(LoadContext),
    /// By itself: another node is loading the key, or a tier has not reached the token.
    RunAlone,
}
