//! The way to one origin: concurrency limit, breaker, time limit, retry budget.

mod breaker;
mod limiter;
mod pressure;
mod retries;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use coherence::governor::Load;
use coherence::{Clock, Mono};
use contract::{Class, Key};
use parking_lot::Mutex;
use tokio::sync::oneshot;

pub(super) use self::breaker::{Breaker, BreakerOptions, Pass};
use self::limiter::{Entrance, Limiter, Sign, Ticket};
pub(super) use self::pressure::Pressure;
use self::retries::Retries;
use super::answer::ReadError;
use super::metrics::Metrics;
use super::options::EngineOptions;
use crate::chance::Chance;
use crate::origin::{Ask, Loaded, LoadedMany, Origin, OriginError, OriginErrorKind};

/// When an origin's breaker opens.
const BREAKER: BreakerOptions = BreakerOptions {
    min_calls: 8,
    bad_share: 0.5,
    open_for: Duration::from_secs(1),
    open_at_most: Duration::from_secs(30),
    probe_timeout: Duration::from_secs(15),
};

/// How many loads may queue for each one that may be under way.
const QUEUE_FACTOR: usize = 32;

/// A retry waits between this and five times this.
const RETRY_PAUSE: Duration = Duration::from_millis(10);

/// One origin's gate. Origins of one name share it.
pub(super) struct Gate {
    name: Arc<str>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    load_timeout: Duration,
    slow_load: Duration,
    queue_timeout: Duration,
    chance: Arc<dyn Chance>,
    state: Mutex<State>,
    pub(super) pressure: Arc<Pressure>,
}

struct State {
    breaker: Breaker,
    limiter: Limiter,
    retries: Retries,
    waiting: HashMap<Ticket, oneshot::Sender<()>>,
    tickets: u64,
}

/// A load and the question it answers.
#[derive(Clone, Copy)]
pub(super) struct Question<'a> {
    pub(super) origin: &'a dyn Origin,
    pub(super) key: &'a Key,
    pub(super) id: &'a str,
    pub(super) class: Class,
    /// Nobody waits for it: it is made if there is room, and not retried.
    pub(super) background: bool,
}

impl Gate {
    pub(super) fn new(
        name: &str,
        most: usize,
        options: &EngineOptions,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
    ) -> Self {
        let state = State {
            breaker: Breaker::new(BREAKER),
            limiter: Limiter::new(most, most.saturating_mul(QUEUE_FACTOR)),
            retries: Retries::default(),
            waiting: HashMap::new(),
            tickets: 0,
        };
        Self {
            name: name.into(),
            clock,
            metrics,
            load_timeout: options.load_timeout,
            slow_load: options.slow_load,
            queue_timeout: options.queue_timeout,
            chance: Arc::clone(&options.chance),
            state: Mutex::new(state),
            pressure: Arc::default(),
        }
    }

    /// Asks the origin, if it can bear it. Answers with the time at which the load began: every
    /// snapshot it used is later.
    pub(super) async fn load(&self, question: Question<'_>) -> Result<(Loaded, Mono), ReadError> {
        let Question { origin, key, id, class, background } = question;
        self.guarded(class, background, || origin.load(key, id)).await
    }

    /// Asks several questions, at least one, as one load. `background`: see [`Question`].
    pub(super) async fn load_many(
        &self,
        asks: &[Ask<'_>],
        class: Class,
        background: bool,
    ) -> Result<(LoadedMany, Mono), ReadError> {
        self.guarded(class, background, || async move {
            let loaded = asks[0].origin.load_many(asks).await?;
            if loaded.items.len() == asks.len() {
                return Ok(loaded);
            }
            let message = format!("{} answers to {} questions", loaded.items.len(), asks.len());
            Err(OriginError { kind: OriginErrorKind::Broken, message })
        })
        .await
    }

    /// Asks something that nobody waits for, if there is room. It is no load, so how it goes says
    /// nothing of loads; but a breaker that tries whether anybody answers learns whether.
    pub(super) async fn background<T, F: Future<Output = Result<T, OriginError>>>(
        &self,
        question: impl Fn() -> F,
    ) -> Result<T, ReadError> {
        let mut permit = self.admit(Class::Ephemeral, true).await?;
        let outcome = tokio::time::timeout(self.load_timeout, question()).await;
        let outcome = outcome.unwrap_or_else(|_| Err(self.late()));
        permit.good = matches!(permit.pass, Pass::Probe).then_some(outcome.is_ok());
        Ok(outcome?)
    }

    async fn guarded<T, F: Future<Output = Result<T, OriginError>>>(
        &self,
        class: Class,
        background: bool,
        load: impl Fn() -> F,
    ) -> Result<(T, Mono), ReadError> {
        let mut permit = self.admit(class, background).await?;
        loop {
            let began = self.clock.mono();
            let outcome = match tokio::time::timeout(self.load_timeout, load()).await {
                Ok(outcome) => outcome,
                Err(_) => Err(self.late()),
            };
            permit.learn(&outcome, self.clock.mono().since(began), self.slow_load);
            match outcome {
                Ok(loaded) => return Ok((loaded, began)),
                Err(err) if !self.may_retry(&err, background) => return Err(err.into()),
                Err(err) => {
                    tracing::debug!(origin = %self.name, error = %err, "load failed; trying again");
                    let pause = RETRY_PAUSE.mul_f64(1.0 + 4.0 * self.chance.unit());
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    fn late(&self) -> OriginError {
        let message = format!("{} did not answer within {:?}", self.name, self.load_timeout);
        OriginError { kind: OriginErrorKind::Timeout, message }
    }

    fn may_retry(&self, err: &OriginError, background: bool) -> bool {
        // A load that took too long would take too long again.
        err.kind == OriginErrorKind::Unavailable && !background && self.state.lock().retries.spend()
    }

    async fn admit(&self, class: Class, background: bool) -> Result<Permit<'_>, ReadError> {
        let class = if background { Class::Ephemeral } else { class };
        let (ticket, queued) = {
            let mut state = self.state.lock();
            state.tickets += 1;
            let ticket = Ticket(state.tickets);
            let entrance = state.limiter.enter(ticket, class, !background);
            self.feel(pressure::load(&state.limiter, Sign::None));
            let queued = match entrance {
                Entrance::In => None,
                Entrance::Full if background => {
                    // Nobody waits for it, so nobody was turned away.
                    return Err(self.spare("limit", self.queue_timeout));
                }
                Entrance::Full => return Err(self.shed("limit", self.queue_timeout)),
                Entrance::Queued { gives_way } => {
                    if let Some(lesser) = gives_way {
                        // Dropping its sender tells it.
                        state.waiting.remove(&lesser);
                    }
                    let (sender, receiver) = oneshot::channel();
                    state.waiting.insert(ticket, sender);
                    Some(receiver)
                }
            };
            (ticket, queued)
        };
        if let Some(turn) = queued {
            let mut place = Place { gate: self, ticket, turn, taken: false };
            let called = tokio::time::timeout(self.queue_timeout, &mut place.turn).await;
            place.taken = matches!(called, Ok(Ok(())));
            if !place.taken {
                return Err(self.shed("limit", self.queue_timeout));
            }
        }
        let mut permit = Permit { gate: self, pass: Pass::Free, sign: Sign::None, good: None };
        let mut state = self.state.lock();
        match state.breaker.ask(self.clock.mono()) {
            Pass::Refused(left) => {
                // The permit's end takes the lock again.
                drop(state);
                Err(self.shed("breaker", left))
            }
            pass => {
                permit.pass = pass;
                state.retries.pay_in();
                drop(state);
                Ok(permit)
            }
        }
    }

    fn feel(&self, load: Load) {
        self.pressure.observe(self.clock.mono(), load);
    }

    fn shed(&self, reason: &'static str, retry_after: Duration) -> ReadError {
        self.feel(Load { turned_away: true, ..Load::default() });
        self.spare(reason, retry_after)
    }

    fn spare(&self, reason: &'static str, retry_after: Duration) -> ReadError {
        self.metrics.shed(&self.name, reason);
        ReadError::Overloaded { reason, retry_after }
    }

    fn leave(&self, sign: Sign) {
        let mut state = self.state.lock();
        self.feel(pressure::load(&state.limiter, sign));
        let mut next = state.limiter.leave(sign);
        while let Some(ticket) = next.pop() {
            let sender = state.waiting.remove(&ticket);
            let gone = sender.is_none_or(|sender| sender.send(()).is_err());
            if gone {
                next.extend(state.limiter.leave(Sign::None));
            }
        }
        self.metrics.limit(&self.name, state.limiter.limit());
    }
}

/// A place in the queue; given up when dropped, unless its turn came and was taken.
struct Place<'a> {
    gate: &'a Gate,
    ticket: Ticket,
    turn: oneshot::Receiver<()>,
    taken: bool,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if self.taken {
            return;
        }
        let mut state = self.gate.state.lock();
        state.waiting.remove(&self.ticket);
        state.limiter.give_up(self.ticket);
        // Called in just now, and nobody came.
        let called = self.turn.try_recv().is_ok();
        drop(state);
        if called {
            self.gate.leave(Sign::None);
        }
    }
}

/// A load that was let in; leaves when dropped, whatever happened to it.
struct Permit<'a> {
    gate: &'a Gate,
    pass: Pass,
    sign: Sign,
    good: Option<bool>,
}

impl Permit<'_> {
    fn learn<T>(&mut self, outcome: &Result<T, OriginError>, took: Duration, slow: Duration) {
        let kind = outcome.as_ref().err().map(|err| err.kind);
        self.good = match kind {
            None => Some(took <= slow),
            // It was asked and did answer.
            Some(OriginErrorKind::BadRequest | OriginErrorKind::Broken) => Some(true),
            Some(OriginErrorKind::Unavailable | OriginErrorKind::Timeout) => Some(false),
            Some(OriginErrorKind::Refused) => None,
        };
        self.sign = match kind {
            None => Sign::Took(took),
            Some(OriginErrorKind::BadRequest | OriginErrorKind::Broken) => Sign::None,
            Some(_) => Sign::Overload,
        };
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if let Some(good) = self.good {
            let mut state = self.gate.state.lock();
            state.breaker.tell(self.gate.clock.mono(), self.pass, good);
            self.gate.metrics.breaker(&self.gate.name, state.breaker.level());
        }
        self.gate.leave(self.sign);
    }
}
