//! The two tiers of a node, with everything that reading and filling them takes.

mod never_fed;
mod timed_change;
mod touch_queue;

use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use coherence::{CausalToken, Clock, DatabaseClock, Epoch, Lsn, Mono, Reached};
use contract::Key;
use parking_lot::Mutex;

use self::never_fed::NeverFedWarning;
use self::touch_queue::TouchQueue;
use super::admission::GuardedTier;
use super::error::ReadError;
use super::metrics::Metrics;
use super::observer::{EngineEvent, EngineObserver};
use super::options::EngineOptions;
use super::policy::Policy;
use super::rules::Rules;
use crate::local::{Local, LocalEntry, LocalOptions};
use crate::shared::{SharedTier, TierPosition, Touch};

/// The tiers of a node.
pub(crate) struct TierStack {
    pub(crate) local: Local,
    pub(crate) shared: GuardedTier,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Metrics,
    pub(crate) options: EngineOptions,
    pub(crate) touches: TouchQueue,
    pub(crate) database_clock: Mutex<DatabaseClock>,
    never_fed: NeverFedWarning,
    observer: OnceLock<Arc<dyn EngineObserver>>,
}

/// A causal token with the time until which a tier may take to reach it.
#[derive(Clone, Copy)]
pub(crate) struct TokenDeadline {
    pub(crate) token: CausalToken,
    /// The time of the read: the write of the token was committed before.
    pub(crate) asked: Mono,
    pub(crate) until: Mono,
}

impl TierStack {
    pub(crate) fn new(
        options: EngineOptions,
        shared: Arc<dyn SharedTier>,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
    ) -> Self {
        let chance = Arc::clone(&options.chance);
        let timeout = options.shared_timeout;
        let local = LocalOptions {
            bytes: options.local_bytes,
            assured: options.assured,
            samples: options.samples,
            at_once: options.removed_at_once,
            chance,
            contracts: options.coverage.clone(),
        };
        Self {
            local: Local::new(local),
            shared: GuardedTier::new(shared, timeout, Arc::clone(&clock), metrics.clone()),
            clock,
            metrics,
            options,
            touches: TouchQueue::default(),
            database_clock: Mutex::default(),
            never_fed: NeverFedWarning::default(),
            observer: OnceLock::new(),
        }
    }

    #[inline]
    pub(crate) fn now(&self) -> Mono {
        self.clock.mono()
    }

    /// Sets the observer, unless there is one.
    pub(crate) fn set_observer(&self, observer: Arc<dyn EngineObserver>) {
        let _ = self.observer.set(observer);
    }

    pub(crate) fn is_observed(&self) -> bool {
        self.observer.get().is_some()
    }

    /// Reports an event to the observer, if there is one.
    #[inline]
    pub(crate) fn report(&self, event: impl FnOnce() -> EngineEvent) {
        if let Some(observer) = self.observer.get() {
            observer.observe(event());
        }
    }

    /// Counts a plain hit in the in-process tier.
    #[inline]
    pub(crate) fn count_hit(&self, policy: &Policy) {
        policy.state.hits.inc();
        if !policy.state.registered.load(Ordering::Relaxed) {
            self.register_hits(policy);
        }
    }

    #[cold]
    fn register_hits(&self, policy: &Policy) {
        if !policy.state.registered.swap(true, Ordering::Relaxed) {
            self.metrics.register_hits(&policy.rules, &policy.state.hits);
        }
    }

    /// The entry in the in-process tier that may answer a read with this token, with the time as of which it
    /// is proven.
    pub(crate) fn get_local(
        &self,
        key: &Key,
        rules: &Rules,
        token: Option<CausalToken>,
    ) -> Option<(LocalEntry, Option<Mono>)> {
        let found = match token {
            None => self.local.get(key),
            // An entry that only its age proves has no position in the log.
            Some(_) if rules.is_age_bound() => None,
            Some(token) => self.local.get_with_token(key, token),
        };
        rules.prove_local(key, found?)
    }

    /// The filter's answer for a key without an entry: a proof of absence, or `None`.
    pub(crate) fn proven_absent(
        &self,
        key: &Key,
        policy: &Policy,
        token: Option<CausalToken>,
    ) -> Option<(LocalEntry, Option<Mono>)> {
        self.local.absent(policy.filter()?, key, token, self.now())
    }

    /// The touch for a use now, with the position from which an entry of the shared tier is proven: only proven
    /// entries are touched. `None`: nothing can be proven, or the TTL is fixed.
    pub(crate) fn touch(&self, rules: &Rules) -> Option<Touch> {
        let touch = rules.sliding?;
        if rules.immutable {
            return Some(touch);
        }
        let as_of = self.budget_start(rules);
        Some(Touch { proven_from: self.local.position_proven_from(as_of)?, ..touch })
    }

    /// The time as of which an answer that is given now must be proven.
    pub(crate) fn budget_start(&self, rules: &Rules) -> Mono {
        let budget = u64::try_from(rules.budget.as_nanos()).unwrap_or(u64::MAX);
        Mono(self.now().0.saturating_sub(budget))
    }

    /// The position that a load which begins now is offered with: the epoch, and W.
    pub(crate) fn load_position(&self) -> Option<(Epoch, Lsn)> {
        self.local.load_position()
    }

    /// The position that a load is offered with whose lookup has found the shared tier at `position`; `None`: the
    /// tier follows another log than this node samples, or its leader does not apply this kind of data.
    pub(crate) fn fill_position(&self, rules: &Rules, at: TierPosition) -> Option<(Epoch, Lsn)> {
        self.local.accepts(at, rules.mappings.of_all()).then_some((at.epoch, at.watermark))
    }

    /// The deadline of a read with a token that begins now.
    pub(crate) fn token_deadline(&self, token: Option<CausalToken>) -> Option<TokenDeadline> {
        let asked = self.now();
        let until = asked + self.options.after_timeout;
        token.map(|token| TokenDeadline { token, asked, until })
    }

    /// Waits until the in-process tier has reached the token. Returns false at the deadline.
    pub(crate) async fn wait_for_token(&self, deadline: TokenDeadline) -> bool {
        let left = deadline.until.since(self.now());
        let reached = tokio::time::timeout(left, self.local.wait_for(deadline.token)).await;
        let reached = matches!(reached, Ok(Reached::Yes));
        self.metrics.waited_for_token(reached);
        reached
    }

    /// Records that a value can't be stored for want of an epoch, and warns once if that lasts.
    pub(crate) fn report_never_fed(&self) {
        if self.never_fed.is_due(self.now()) {
            tracing::warn!(
                fix = "run `Engine::follow` and a leader that applies the batches of a feed, or start the engine with \
                       `Engine::standalone`, whose contracts have no `from`",
                "no log has fed this engine: nothing is stored or proven, and every read loads"
            );
        }
    }

    /// The error of a read whose freshness can't be proven.
    pub(crate) fn unproven_error(&self, rules: &Rules, as_of: Option<Mono>) -> ReadError {
        let now = self.now();
        let bound = as_of.map(|as_of| now.since(as_of));
        ReadError::Unproven { bound, budget: rules.budget }
    }
}
