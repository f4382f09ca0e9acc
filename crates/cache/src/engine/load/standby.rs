//! Loads from standbys, which relieve the primary.
//!
//! A standby is asked if, as far as is known, its replay is recent enough for the contract's budget;
//! those that are take turns. Its answer is used if it turns out to be recent enough
//! ([`coherence::standby`]). Otherwise, and whenever a standby fails, the primary is asked as if there
//! were no standbys: a standby costs time, never an answer.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use coherence::{Epoch, Lsn, Mono, ReadRequirement, Rejection};
use contract::Class;

use super::origins::Origins;
use super::request::{LoadContext, LoadRequest};
use crate::engine::admission::{GatedLoad, Lane};
use crate::engine::error::ReadError;
use crate::engine::tiers::TierStack;
use crate::origin::{LoadItem, Loaded, LoadedMany, Origin};

impl Origins {
    /// Returns an acceptable answer of a standby with the time at which its load began.
    pub(super) async fn ask_standby(
        &self,
        tiers: &TierStack,
        request: &LoadRequest,
        context: LoadContext,
    ) -> Option<(Loaded, Mono)> {
        for standby in self.recent_standbys(tiers, &*request.origin, &[(request, context)]) {
            let (origin, class) = (&**standby, request.rules().priority);
            // As a background load: if there is no room, there is the primary.
            let (key, id) = (&request.key, &*request.id);
            let load = GatedLoad {
                origin,
                key,
                id,
                class,
                lane: Lane::Load,
                joined: None,
                timeout: None,
                background: true,
                early: None,
            };
            let answer = self.standbys.gate(origin).load(load).await;
            match standby_reply(tiers, origin, answer) {
                StandbyReply::NotAsked => {}
                StandbyReply::Failed => return None,
                StandbyReply::Answer(loaded, began) => {
                    let verdict = is_acceptable(tiers, request, context, &loaded);
                    tiers.metrics.standby(origin.name(), result_label(verdict));
                    return verdict.is_ok().then_some((loaded, began));
                }
            }
        }
        None
    }

    /// Returns the acceptable answers of a standby to several requests, in their order. `one_snapshot`: all
    /// of them from one snapshot, or none.
    pub(crate) async fn ask_standby_many(
        &self,
        tiers: &TierStack,
        requests: &[(&LoadRequest, LoadContext)],
        one_snapshot: bool,
    ) -> Vec<Option<(Loaded, Mono)>> {
        let none = || requests.iter().map(|_| None).collect();
        for standby in self.recent_standbys(tiers, &*requests[0].0.origin, requests) {
            let origin = &**standby;
            let items = requests.iter().map(|(request, _)| {
                let mut own = request.origin.standbys().iter();
                let own = own.find(|standby| standby.name() == origin.name());
                own.map(|own| LoadItem { origin: &**own, key: &request.key, id: &request.id })
            });
            let Some(items) = items.collect::<Option<Vec<_>>>() else { return none() };
            let class = highest_class(requests.iter().map(|(request, _)| *request));
            let answer = self.standbys.gate(origin).load_many(&items, class, true).await;
            match standby_reply(tiers, origin, answer) {
                StandbyReply::NotAsked => {}
                StandbyReply::Failed => return none(),
                StandbyReply::Answer(LoadedMany { items, one_snapshot: is_one }, began) => {
                    let accepted = requests.iter().zip(items).map(|((request, context), item)| {
                        let loaded = item.ok()?;
                        let verdict = is_acceptable(tiers, request, *context, &loaded);
                        tiers.metrics.standby(origin.name(), result_label(verdict));
                        verdict.is_ok().then_some((loaded, began))
                    });
                    let accepted: Vec<_> = accepted.collect();
                    let is_whole = is_one && accepted.iter().all(Option::is_some);
                    return if one_snapshot && !is_whole { none() } else { accepted };
                }
            }
        }
        none()
    }

    /// The standbys whose replay is recent enough for all of the requests, as far as is known, in rotation.
    fn recent_standbys<'a>(
        &self,
        tiers: &TierStack,
        origin: &'a dyn Origin,
        requests: &[(&LoadRequest, LoadContext)],
    ) -> impl Iterator<Item = &'a Arc<dyn Origin>> {
        let standbys = origin.standbys();
        // Most origins have no standbys, and then nothing is computed.
        // Where values change by the clock, only the primary's decides.
        let is_excluded = standbys.is_empty()
            || requests.iter().any(|(request, _)| request.rules().changes_by_clock);
        let needed = if is_excluded { None } else { needed_replay(tiers, requests) };
        let turn = self.next_standby.fetch_add(usize::from(needed.is_some()), Ordering::Relaxed);
        let rotated = (0..standbys.len()).map(move |at| &standbys[(turn + at) % standbys.len()]);
        let is_recent = move |standby: &&Arc<dyn Origin>| {
            let known = needed.as_ref().zip(standby.replayed());
            known.is_some_and(|((epochs, least), replayed)| {
                replayed.upto >= *least && epochs.iter().all(|epoch| replayed.is_of(*epoch))
            })
        };
        rotated.filter(is_recent)
    }
}

/// The highest priority class of the requests.
pub(crate) fn highest_class<'a>(requests: impl Iterator<Item = &'a LoadRequest>) -> Class {
    requests.map(|request| request.rules().priority).fold(Class::Ephemeral, Ord::max)
}

/// The epochs that the requests belong to, and the position that a standby must have replayed to be within
/// the budget of each; `None`: no standby can be.
fn needed_replay(
    tiers: &TierStack,
    requests: &[(&LoadRequest, LoadContext)],
) -> Option<(Vec<Epoch>, Lsn)> {
    let (mut epochs, mut least) = (Vec::new(), Lsn::ZERO);
    for (request, context) in requests {
        let rules = request.rules();
        // Without an epoch, positions can't be compared.
        let (epoch, _) = context.position.filter(|_| !rules.budget.is_zero())?;
        least = least.max(tiers.local.standby_needs(epoch, tiers.budget_start(rules))?);
        if !epochs.contains(&epoch) {
            epochs.push(epoch);
        }
    }
    Some((epochs, least))
}

/// The result of asking a standby.
enum StandbyReply<T> {
    Answer(T, Mono),
    /// It was not asked: its circuit breaker is open, or it is at its concurrency limit.
    NotAsked,
    Failed,
}

fn standby_reply<T>(
    tiers: &TierStack,
    origin: &dyn Origin,
    answer: Result<(T, Mono), ReadError>,
) -> StandbyReply<T> {
    match answer {
        Ok((loaded, began)) => StandbyReply::Answer(loaded, began),
        Err(err) => {
            tiers.metrics.standby(origin.name(), err.as_str());
            tracing::debug!(standby = origin.name(), error = %err, "load from a standby failed");
            match err {
                ReadError::Overloaded { .. } => StandbyReply::NotAsked,
                _ => StandbyReply::Failed,
            }
        }
    }
}

/// Whether the answer of a standby is recent enough for the request.
fn is_acceptable(
    tiers: &TierStack,
    request: &LoadRequest,
    context: LoadContext,
    loaded: &Loaded,
) -> Result<Mono, Rejection> {
    let (Some(replayed), Some((epoch, _))) = (loaded.replayed, context.position) else {
        return Err(Rejection::Log);
    };
    let since = tiers.budget_start(request.rules());
    let (key, tags, token) = (&request.key, &loaded.tags, request.token());
    tiers.local.check_standby(replayed, ReadRequirement { key, tags, epoch, token, since })
}

fn result_label(verdict: Result<Mono, Rejection>) -> &'static str {
    verdict.map_or_else(Rejection::as_str, |_| "used")
}
