//! Reads of one key.

use std::sync::Arc;

use coherence::{CausalToken, Mono};
use contract::{Key, Unproven};

use super::lookup_local::LocalLookup;
use crate::engine::answer::{Answer, Stale, Tier};
use crate::engine::coalesce::{FlightGuard, Waiter};
use crate::engine::error::ReadError;
use crate::engine::handle::{Engine, Inner};
use crate::engine::load::{LoadOutcome, LoadRequest};
use crate::engine::policy::Policy;
use crate::engine::tiers::TokenDeadline;
use crate::local::LocalEntry;
use crate::origin::Origin;

/// A read that waits for a load.
pub(crate) struct ActiveRead {
    /// The time of the read.
    pub(crate) asked: Mono,
    pub(crate) waiter: Waiter<LoadOutcome>,
    /// Whether another reader started the load.
    pub(crate) joined: bool,
}

/// The result of a read in the in-process tier.
pub(crate) enum LocalOutcome {
    Answer(Answer),
    /// The answer is for its own reader only: its origin is called past the tiers.
    Bypass,
    Miss,
}

impl Engine {
    /// Returns the answer if the in-process tier has it, fresh, proven and with no refresh due. Waits for
    /// nothing and loads nothing.
    #[must_use]
    #[inline]
    pub fn peek(&self, key: &Key, policy: &Policy) -> Option<Answer> {
        let found = self.tiers().local.get(key)?;
        let (entry, proven) = policy.rules.prove_local(key, found)?;
        self.plain_hit(policy, entry, proven, |now| policy.rules.is_within_budget(proven, now))
    }

    /// Answers from an entry if it needs no closer look.
    #[inline]
    pub(super) fn plain_hit(
        &self,
        policy: &Policy,
        entry: LocalEntry,
        proven: Option<Mono>,
        is_within_budget: impl FnOnce(Mono) -> bool,
    ) -> Option<Answer> {
        let tiers = self.tiers();
        // Read after the entry was fetched: a delay in between makes the bound larger, not smaller.
        let now = tiers.now();
        // Of the entry itself only this one field is read. An entry that is proven by its own load where its
        // tier is not is left to `get`; the fast path of a soft-stale entry is closed.
        let is_plain =
            entry.fast_path().is_open(now) && policy.rules.tiers.local && is_within_budget(now);
        if !is_plain {
            return None;
        }
        tiers.count_hit(policy);
        Some(Answer::local(entry, proven, now, None))
    }

    /// Reads a key: in-process tier, shared tier, origin, by the policy.
    ///
    /// `id` is the id that the caller named; it is passed to `origin`. One load serves all readers of the
    /// key, in this process and in the cluster, with one exception: an answer that the origin calls
    /// [`Content::Uncacheable`](crate::Content::Uncacheable) is for its own caller only. So each reader whose
    /// answer turns out to be uncacheable has *its own* `origin` called once; an origin that keeps its
    /// response (as the edge's does, one per request) finds it there.
    ///
    /// A reader joins a load in progress only if its outcome keeps the contract for that reader too: with a
    /// budget of zero, only a load that began after the read.
    ///
    /// The load runs in a task of its own: it goes on when this call is dropped.
    ///
    /// # Errors
    /// [`ReadError`], by the policy's rules.
    pub async fn get(
        &self,
        key: &Key,
        id: &str,
        policy: &Arc<Policy>,
        origin: &Arc<dyn Origin>,
    ) -> Result<Answer, ReadError> {
        self.read(key, id, policy, origin, None).await
    }

    pub(super) async fn read(
        &self,
        key: &Key,
        id: &str,
        policy: &Arc<Policy>,
        origin: &Arc<dyn Origin>,
        deadline: Option<TokenDeadline>,
    ) -> Result<Answer, ReadError> {
        let tiers = self.tiers();
        let token = deadline.map(|deadline| deadline.token);
        let asked = tiers.now();
        let request = |refresh| LoadRequest {
            key: key.clone(),
            id: id.into(),
            policy: Arc::clone(policy),
            origin: Arc::clone(origin),
            refresh,
            deadline: deadline.filter(|_| !refresh),
            joined: None,
        };
        match self.read_local(key, policy, token, asked, &request) {
            LocalOutcome::Answer(answer) => return Ok(answer),
            LocalOutcome::Bypass => return self.read_bypassing_tiers(&request(false)).await,
            LocalOutcome::Miss => {}
        }
        let request = request(false);
        let read = self.join_or_load(&request, asked);
        match self.await_load(&request, read).await {
            Ok(answer) => Ok(answer),
            Err(err) => tiers.stale_if_error(key, policy, token, err),
        }
    }

    /// Answers from the in-process tier, if it can, and starts a refresh that is due.
    pub(crate) fn read_local(
        &self,
        key: &Key,
        policy: &Policy,
        token: Option<CausalToken>,
        asked: Mono,
        request: &dyn Fn(bool) -> LoadRequest,
    ) -> LocalOutcome {
        let (tiers, rules) = (self.tiers(), &policy.rules);
        let answer =
            |entry, as_of| LocalOutcome::Answer(Answer::local(entry, as_of, tiers.now(), None));
        match tiers.lookup_local(key, policy, token) {
            LocalLookup::Fresh { entry, as_of, refresh } => {
                if refresh {
                    self.refresh(request(true));
                }
                tiers.count_hit(policy);
                answer(entry, as_of)
            }
            LocalLookup::Soft { entry, as_of, refresh } => {
                if refresh {
                    self.refresh(request(true));
                }
                tiers.metrics.read(rules, Tier::Local.as_str(), "soft");
                answer(entry, Some(as_of))
            }
            LocalLookup::Absent { entry, as_of } => {
                tiers.metrics.read(rules, Tier::Local.as_str(), "filtered");
                answer(entry, as_of)
            }
            LocalLookup::Uncacheable => LocalOutcome::Bypass,
            LocalLookup::Expired { entry, as_of, is_within_budget: true }
                if asked < entry.expires() + rules.stale_while_revalidate =>
            {
                self.refresh(request(true));
                LocalOutcome::Answer(tiers.stale_answer(rules, entry, as_of, Stale::Revalidating))
            }
            // No tier can be proven while the log's end is not known: no need to ask the shared one.
            LocalLookup::Unproven { entry, as_of }
                if rules.unproven == Unproven::ServeStale
                    && !rules.is_within_budget(tiers.local.sampled(), asked) =>
            {
                LocalOutcome::Answer(tiers.stale_answer(rules, entry, as_of, Stale::Unproven))
            }
            _ if rules.tiers.is_none() && !rules.collapses => LocalOutcome::Bypass,
            LocalLookup::Expired { .. } | LocalLookup::Unproven { .. } | LocalLookup::Miss => {
                LocalOutcome::Miss
            }
        }
    }

    /// Joins the key's flight, or starts one.
    fn join_or_load(&self, request: &LoadRequest, asked: Mono) -> ActiveRead {
        let (keys, party) = (&self.inner.coalescer.keys, request.origin.party());
        let (waiter, guard) = keys.join(&request.key, false, party);
        let joined = guard.is_none();
        if let Some(guard) = guard {
            self.spawn_load(request.clone(), guard);
        }
        ActiveRead { asked, waiter, joined }
    }

    /// Waits for the load of a read. Joins or starts another one while the outcome of a joined load does not
    /// satisfy this reader.
    pub(crate) async fn await_load(
        &self,
        request: &LoadRequest,
        mut read: ActiveRead,
    ) -> Result<Answer, ReadError> {
        let tiers = self.tiers();
        let asked = read.asked;
        let mut takes_early = request.origin.takes_early();
        loop {
            let ActiveRead { waiter, joined, .. } = &read;
            let limit = request.rules().wait_timeout.unwrap_or(tiers.options.wait_timeout);
            let left = limit.saturating_sub(tiers.now().since(asked));
            let outcome = async {
                if takes_early { waiter.early_outcome().await } else { waiter.outcome().await }
            };
            let Ok(outcome) = tokio::time::timeout(left, outcome).await else {
                return Err(ReadError::WaitTimeout(tiers.now().since(asked)));
            };
            match outcome {
                // A refresh that failed is no failure of the readers that joined it.
                Err(_) if *joined && waiter.background => {}
                Err(err) => return Err(err),
                Ok(outcome) if *joined && outcome.is_uncacheable() => {
                    return self.read_bypassing_tiers(request).await;
                }
                Ok(outcome) => {
                    let is_current = outcome.stale.is_some()
                        || request.rules().is_within_budget(outcome.as_of, asked);
                    if !joined || is_current && outcome.satisfies(request.deadline, asked) {
                        return tiers.answer_of(request, outcome, *joined);
                    }
                    if outcome.body.is_some() {
                        // Its load is still in progress, and another one begins only after it.
                        takes_early = false;
                        continue;
                    }
                }
            }
            takes_early = request.origin.takes_early();
            read = self.join_or_load(request, asked);
        }
    }

    /// Calls the reader's own origin for this reader only.
    async fn read_bypassing_tiers(&self, request: &LoadRequest) -> Result<Answer, ReadError> {
        let tiers = self.tiers();
        let outcome = self.inner.loader.load_unshared(request).await;
        let answer = outcome.and_then(|outcome| tiers.answer_of(request, outcome, false));
        if let Err(err) = &answer {
            tiers.metrics.read(request.rules(), "none", err.as_str());
        }
        answer
    }

    /// Renews an entry in the background, unless it is being loaded.
    fn refresh(&self, request: LoadRequest) {
        if let (_, Some(guard)) = self.inner.coalescer.keys.join(&request.key, true, None) {
            self.spawn_load(request, guard);
        }
    }

    fn spawn_load(&self, request: LoadRequest, guard: FlightGuard<Key, LoadOutcome>) {
        let request = LoadRequest { joined: Some(guard.joined()), ..request };
        tokio::spawn(Arc::clone(&self.inner).run_flight(request, guard));
    }
}

impl Inner {
    /// Runs the load of a flight and ends the flight.
    pub(crate) async fn run_flight(
        self: Arc<Self>,
        request: LoadRequest,
        guard: FlightGuard<Key, LoadOutcome>,
    ) {
        let outcome = self.loader.run_load(&request, Some(&guard.early())).await;
        if request.refresh {
            self.tiers().metrics.refresh(request.rules(), outcome.as_ref().map(|_| ()));
            if let Err(err) = &outcome {
                tracing::debug!(key = %request.key, error = %err, "early refresh failed");
            }
        }
        guard.finish(outcome);
    }
}
