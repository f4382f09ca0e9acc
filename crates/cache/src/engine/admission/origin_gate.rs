//! The gate of one origin.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use coherence::governor::OriginLoad;
use coherence::{Clock, Mono};
use contract::Class;
use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::oneshot;

use super::circuit_breaker::{BreakerOptions, BreakerPass, CircuitBreaker};
use super::concurrency_limit::{Admission, ConcurrencyLimit, LoadSignal, Ticket};
use super::pressure::{self, Pressure};
use super::retry_budget::RetryBudget;
use crate::chance::Chance;
use crate::engine::error::ReadError;
use crate::engine::metrics::Metrics;
use crate::engine::options::EngineOptions;

/// When an origin's circuit breaker opens.
const BREAKER: BreakerOptions = BreakerOptions {
    min_calls: 8,
    failure_share: 0.5,
    open_for: Duration::from_secs(1),
    max_open: Duration::from_secs(30),
    probe_timeout: Duration::from_secs(15),
};

/// The maximum length of the queue, per request of the maximum concurrency.
const QUEUE_FACTOR: usize = 32;

/// The gate of one origin: concurrency limit, queue, circuit breaker, retry budget.
///
/// A request is admitted, waits in the queue for its turn, or is rejected:
///
/// 1. Below the concurrency limit it is admitted. [`Class::Ephemeral`] may use 70 % of the limit,
///    [`Class::Standard`] 90 %, [`Class::Critical`] all of it. The limit adapts to the latency of the requests
///    that succeed, and shrinks with every failure.
/// 2. At the limit it waits in the queue for at most [`EngineOptions::queue_timeout`]; the highest class goes
///    first. A full queue sheds its lowest class to make room for a higher one.
/// 3. While the circuit breaker is open it is rejected.
pub struct OriginGate {
    name: Arc<str>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    load_timeout: Duration,
    slow_load: Duration,
    queue_timeout: Duration,
    chance: Arc<dyn Chance>,
    state: Mutex<GateState>,
    pressure: Arc<Pressure>,
}

struct GateState {
    breaker: CircuitBreaker,
    limit: ConcurrencyLimit,
    retries: RetryBudget,
    queue: HashMap<Ticket, oneshot::Sender<()>>,
    tickets: u64,
}

/// A request that was not admitted.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("origin overloaded: {reason}")]
pub struct Rejected {
    /// The part of the gate that rejected it.
    pub reason: RejectReason,
    /// The time after which a retry may be admitted.
    pub retry_after: Duration,
}

/// The part of a gate that rejects a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RejectReason {
    /// The concurrency limit: the request found the queue full, gave way to a higher class, or waited for
    /// the whole queue timeout.
    Limit,
    /// The open circuit breaker.
    Breaker,
}

/// The outcome of an admitted request, as far as it is a signal about the origin.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RequestOutcome {
    /// The origin answered, and the duration is typical of its load: it moves the concurrency limit, and a
    /// request slower than [`EngineOptions::slow_load`] counts as failed for the circuit breaker.
    Succeeded,
    /// The origin answered, with an error or after a time that depends on the request (an upload): it counts
    /// as good for the circuit breaker, and its duration is ignored.
    Answered,
    /// The origin could not be reached, or did not answer in time.
    Failed,
    /// The origin asked for less load. The limit shrinks; the circuit breaker ignores it.
    Refused,
}

/// The right to have one request in progress at an origin; ends when dropped.
///
/// A permit that is dropped without an outcome (a cancelled request) is no signal about the origin.
pub struct Permit {
    gate: Arc<OriginGate>,
    admitted: Mono,
    pass: BreakerPass,
    signal: LoadSignal,
    good: Option<bool>,
}

impl OriginGate {
    pub(super) fn new(
        name: &str,
        max: usize,
        options: &EngineOptions,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
    ) -> Self {
        let state = GateState {
            breaker: CircuitBreaker::new(BREAKER),
            limit: ConcurrencyLimit::new(max, max.saturating_mul(QUEUE_FACTOR)),
            retries: RetryBudget::default(),
            queue: HashMap::new(),
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

    /// Returns the origin's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Admits one request of `class`, after at most the queue timeout. The request is in progress until the
    /// permit is [finished](Permit::finish) or dropped.
    ///
    /// # Errors
    /// [`Rejected`]: the origin has too many requests in progress for this class, or its circuit breaker is
    /// open.
    pub async fn admit(self: &Arc<Self>, class: Class) -> Result<Permit, Rejected> {
        if let Some(mut slot) = self.enter(class, true)? {
            let called = tokio::time::timeout(self.queue_timeout, &mut slot.turn).await;
            slot.taken = matches!(called, Ok(Ok(())));
            if !slot.taken {
                return Err(self.shed(RejectReason::Limit, self.queue_timeout));
            }
        }
        self.pass_breaker()
    }

    /// Admits one request that nothing waits for, as [`Class::Ephemeral`] and without queueing.
    ///
    /// # Errors
    /// As [`admit`](Self::admit).
    pub fn try_admit(self: &Arc<Self>) -> Result<Permit, Rejected> {
        // Without queueing there is no slot.
        self.enter(Class::Ephemeral, false)?;
        self.pass_breaker()
    }

    fn enter(self: &Arc<Self>, class: Class, queues: bool) -> Result<Option<QueueSlot>, Rejected> {
        let mut state = self.state.lock();
        state.tickets += 1;
        let ticket = Ticket(state.tickets);
        let admission = state.limit.enter(ticket, class, queues);
        self.observe(pressure::load(&state.limit, LoadSignal::None));
        match admission {
            Admission::Admitted => Ok(None),
            // Nothing waits for it, so rejecting it is no sign of pressure.
            Admission::Full if !queues => Err(self.reject(RejectReason::Limit, self.queue_timeout)),
            Admission::Full => Err(self.shed(RejectReason::Limit, self.queue_timeout)),
            Admission::Queued { shed } => {
                if let Some(lower) = shed {
                    // Dropping its sender wakes it.
                    state.queue.remove(&lower);
                }
                let (sender, turn) = oneshot::channel();
                state.queue.insert(ticket, sender);
                let gate = Arc::clone(self);
                Ok(Some(QueueSlot { gate, ticket, turn, taken: false }))
            }
        }
    }

    /// Asks the circuit breaker about a request that the limit has admitted.
    fn pass_breaker(self: &Arc<Self>) -> Result<Permit, Rejected> {
        let now = self.clock.mono();
        let mut permit = Permit {
            gate: Arc::clone(self),
            admitted: now,
            pass: BreakerPass::Free,
            signal: LoadSignal::None,
            good: None,
        };
        let mut state = self.state.lock();
        match state.breaker.try_pass(now) {
            BreakerPass::Refused(left) => {
                // Dropping the permit takes the lock again.
                drop(state);
                Err(self.shed(RejectReason::Breaker, left))
            }
            pass => {
                permit.pass = pass;
                state.retries.pay_in();
                drop(state);
                Ok(permit)
            }
        }
    }

    fn leave(&self, signal: LoadSignal) {
        let mut state = self.state.lock();
        self.observe(pressure::load(&state.limit, signal));
        let mut next = state.limit.leave(signal);
        while let Some(ticket) = next.pop() {
            let sender = state.queue.remove(&ticket);
            let gone = sender.is_none_or(|sender| sender.send(()).is_err());
            if gone {
                next.extend(state.limit.leave(LoadSignal::None));
            }
        }
        self.metrics.limit(&self.name, state.limit.limit());
    }

    fn shed(&self, reason: RejectReason, retry_after: Duration) -> Rejected {
        self.observe(OriginLoad { overloaded: true, ..OriginLoad::default() });
        self.reject(reason, retry_after)
    }

    fn reject(&self, reason: RejectReason, retry_after: Duration) -> Rejected {
        self.metrics.shed(&self.name, reason.as_str());
        Rejected { reason, retry_after }
    }

    fn observe(&self, load: OriginLoad) {
        self.pressure.observe(self.clock.mono(), load);
    }

    /// Returns the pressure on the origin.
    pub(crate) fn pressure(&self) -> &Arc<Pressure> {
        &self.pressure
    }

    pub(super) fn now(&self) -> Mono {
        self.clock.mono()
    }

    pub(super) fn load_timeout(&self) -> Duration {
        self.load_timeout
    }

    pub(super) fn random(&self) -> f64 {
        self.chance.unit()
    }

    /// Pays for a retry from the budget, if it can.
    pub(super) fn spend_retry(&self) -> bool {
        self.state.lock().retries.spend()
    }
}

/// A place in the queue; given up when dropped, unless its turn came and was taken.
struct QueueSlot {
    gate: Arc<OriginGate>,
    ticket: Ticket,
    turn: oneshot::Receiver<()>,
    taken: bool,
}

impl Drop for QueueSlot {
    fn drop(&mut self) {
        if self.taken {
            return;
        }
        let mut state = self.gate.state.lock();
        state.queue.remove(&self.ticket);
        state.limit.give_up(self.ticket);
        // Its turn has just come and was not taken.
        let called = self.turn.try_recv().is_ok();
        drop(state);
        if called {
            self.gate.leave(LoadSignal::None);
        }
    }
}

impl Permit {
    /// Ends the request with its outcome; its duration counts from the admission.
    pub fn finish(mut self, outcome: RequestOutcome) {
        let took = self.gate.now().since(self.admitted);
        self.record(outcome, took);
    }

    /// Records the outcome of the last try.
    pub(super) fn record(&mut self, outcome: RequestOutcome, took: Duration) {
        (self.good, self.signal) = match outcome {
            RequestOutcome::Succeeded => {
                (Some(took <= self.gate.slow_load), LoadSignal::Latency(took))
            }
            RequestOutcome::Answered => (Some(true), LoadSignal::None),
            RequestOutcome::Failed => (Some(false), LoadSignal::Overload),
            RequestOutcome::Refused => (None, LoadSignal::Overload),
        };
    }

    /// Records the outcome for the circuit breaker only, and only if this request is its probe.
    pub(super) fn record_probe(&mut self, good: bool) {
        self.good = matches!(self.pass, BreakerPass::Probe).then_some(good);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(good) = self.good {
            let mut state = self.gate.state.lock();
            state.breaker.record(self.gate.clock.mono(), self.pass, good);
            self.gate.metrics.breaker(&self.gate.name, state.breaker.level());
        }
        self.gate.leave(self.signal);
    }
}

impl RejectReason {
    /// Returns the name used in metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Limit => "limit",
            Self::Breaker => "breaker",
        }
    }
}

impl fmt::Display for RejectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<Rejected> for ReadError {
    fn from(Rejected { reason, retry_after }: Rejected) -> Self {
        Self::Overloaded { reason: reason.as_str(), retry_after }
    }
}

impl fmt::Debug for OriginGate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OriginGate").field("name", &self.name).finish_non_exhaustive()
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("origin", &self.gate.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
