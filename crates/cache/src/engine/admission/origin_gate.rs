//! The gate of one origin.

use std::collections::HashMap;
use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use coherence::governor::OriginLoad;
use coherence::{Clock, Mono};
use contract::Class;
use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::{Notify, oneshot};

use super::concurrency_limit::{Admission, ConcurrencyLimit, LimitBounds, LoadSignal, Ticket};
use super::gate_options::GateOptions;
use super::limit_search::Exchange;
use super::pressure::{self, Pressure};
use super::request::{AdmissionRequest, Lane};
use super::retry_budget::RetryBudget;
use crate::chance::Chance;
use crate::engine::error::ReadError;
use crate::engine::metrics::{Metrics, PlaceGauges};
use coherence::{BreakerPass, CircuitBreaker};

/// The time after which a client may repeat a request that found no place.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The gate of one origin: concurrency limit, queue, circuit breaker, retry budget.
///
/// A request is admitted, waits in the queue for its turn, or is rejected:
///
/// 1. Below the concurrency limit it is admitted. [`Class::Ephemeral`] may use 70 % of the limit,
///    [`Class::Standard`] 90 %, [`Class::Critical`] all of it; of that, loads and each party may use their
///    [shares](GateOptions::shares). The limit follows the latency of the requests that
///    succeed and shrinks with every failure, or it is [searched for](GateOptions::search).
/// 2. At the limit it waits in the queue for at most [`GateOptions::queue_timeout`]; the highest class goes
///    first. A full queue sheds its lowest class to make room for a higher one.
/// 3. While the circuit breaker is open it is rejected.
pub struct OriginGate {
    name: Arc<str>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    places: PlaceGauges,
    options: GateOptions,
    chance: Arc<dyn Chance>,
    state: Mutex<GateState>,
    /// Wakes the requests that wait for the outcome of a probe.
    probed: Notify,
    pressure: Arc<Pressure>,
}

struct GateState {
    breaker: CircuitBreaker,
    limit: ConcurrencyLimit,
    retries: RetryBudget,
    queue: HashMap<Ticket, oneshot::Sender<()>>,
    tickets: u64,
    /// The time of the origin's last answer to any request.
    last_answer: Option<Mono>,
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
    /// The origin answered, and the duration is typical of its load: it moves an adaptive limit, and a
    /// request slower than [`GateOptions::slow_load`] counts as failed for the circuit breaker.
    Succeeded,
    /// The origin answered, with an error or after a time that depends on the request (an upload): it counts
    /// as good for the circuit breaker, and its duration is ignored.
    Answered,
    /// The origin could not be reached.
    Failed,
    /// The origin did not answer in time. It counts as failed only if the origin has answered no other request
    /// meanwhile; otherwise this request is slow, not the origin.
    Silent,
    /// The origin asked for less load. The limit shrinks; the circuit breaker ignores it.
    Refused,
}

/// The right to have one request in progress at an origin; ends when dropped.
///
/// A permit that is dropped without an outcome (a cancelled request) is no signal about the origin.
pub struct Permit {
    gate: Arc<OriginGate>,
    request: AdmissionRequest,
    /// Whether it holds a place.
    placed: bool,
    admitted: Mono,
    pass: BreakerPass,
    signal: LoadSignal,
    verdict: Verdict,
}

/// The signal of a request for the circuit breaker.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Verdict {
    None,
    Good,
    /// The origin answered, too slowly.
    Slow,
    Failed,
    Silent,
    /// The origin answered and asked for less load.
    Refused,
}

impl OriginGate {
    pub(super) fn new(
        name: &str,
        options: GateOptions,
        chance: Arc<dyn Chance>,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
    ) -> Self {
        let bounds = LimitBounds {
            max: options.concurrency,
            max_queued: options.queue,
            search: options.search,
            shares: options.shares,
        };
        let state = GateState {
            breaker: CircuitBreaker::new(options.breaker),
            limit: ConcurrencyLimit::new(bounds),
            retries: RetryBudget::default(),
            queue: HashMap::new(),
            tickets: 0,
            last_answer: None,
        };
        let name: Arc<str> = name.into();
        let places = metrics.places(&name);
        places.set(state.limit.limit(), 0, 0);
        Self {
            name,
            clock,
            metrics,
            places,
            options,
            chance,
            state: Mutex::new(state),
            probed: Notify::new(),
            pressure: Arc::default(),
        }
    }

    /// Returns the origin's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Admits one request, after at most the queue timeout. The request is in progress until the permit is
    /// [finished](Permit::finish) or dropped.
    ///
    /// # Errors
    /// [`Rejected`]: the origin has too many requests in progress for this request's class, lane or party, or
    /// its circuit breaker is open.
    pub async fn admit(
        self: &Arc<Self>,
        request: impl Into<AdmissionRequest>,
    ) -> Result<Permit, Rejected> {
        let request = request.into();
        if let Some(mut slot) = self.enter(request, true)? {
            let called = tokio::time::timeout(self.options.queue_timeout, &mut slot.turn).await;
            slot.taken = matches!(called, Ok(Ok(())));
            if !slot.taken {
                return Err(self.shed(request.class, RejectReason::Limit, RETRY_AFTER));
            }
        }
        self.pass_breaker_or_wait(request).await
    }

    /// Admits one request that nothing waits for, as [`Class::Ephemeral`] and without queueing.
    ///
    /// # Errors
    /// As [`admit`](Self::admit).
    pub fn try_admit(self: &Arc<Self>) -> Result<Permit, Rejected> {
        let request = AdmissionRequest { class: Class::Ephemeral, lane: Lane::Load, party: None };
        // Without queueing there is no slot.
        self.enter(request, false)?;
        self.pass_breaker(self.permit(request))
    }

    fn enter(
        self: &Arc<Self>,
        request: AdmissionRequest,
        queues: bool,
    ) -> Result<Option<QueueSlot>, Rejected> {
        let mut state = self.state.lock();
        state.tickets += 1;
        let ticket = Ticket(state.tickets);
        let admission = state.limit.enter(ticket, request, queues);
        self.observe(pressure::load(&state.limit, LoadSignal::None));
        self.report(&state.limit);
        match admission {
            Admission::Admitted => Ok(None),
            // Nothing waits for it, so rejecting it is no sign of pressure.
            Admission::Full if !queues => {
                Err(self.reject(request.class, RejectReason::Limit, RETRY_AFTER))
            }
            Admission::Full => Err(self.shed(request.class, RejectReason::Limit, RETRY_AFTER)),
            Admission::Queued { shed } => {
                if let Some(lower) = shed {
                    // Dropping its sender wakes it.
                    state.queue.remove(&lower);
                }
                let (sender, turn) = oneshot::channel();
                state.queue.insert(ticket, sender);
                let gate = Arc::clone(self);
                Ok(Some(QueueSlot { gate, request, ticket, turn, taken: false }))
            }
        }
    }

    /// Asks the circuit breaker about a request that the limit has admitted. Waits for the outcome of a probe:
    /// an origin that is back serves all requests that have come meanwhile.
    async fn pass_breaker_or_wait(
        self: &Arc<Self>,
        request: AdmissionRequest,
    ) -> Result<Permit, Rejected> {
        let mut permit = self.permit(request);
        let mut probed = pin!(self.probed.notified());
        // Before the breaker is asked: the outcome may come right after.
        probed.as_mut().enable();
        match self.ask_breaker(&mut permit) {
            BreakerPass::Probing(left) => {
                // Without an outcome, the breaker decides again.
                let limit = self.options.queue_timeout.min(left);
                let _ = tokio::time::timeout(limit, probed).await;
                self.pass_breaker(permit)
            }
            BreakerPass::Refused(left) => {
                Err(self.shed(request.class, RejectReason::Breaker, left))
            }
            BreakerPass::Free | BreakerPass::Probe => Ok(permit),
        }
    }

    /// Asks the circuit breaker about a request that the limit has admitted, without waiting.
    fn pass_breaker(&self, mut permit: Permit) -> Result<Permit, Rejected> {
        match self.ask_breaker(&mut permit) {
            BreakerPass::Refused(left) | BreakerPass::Probing(left) => {
                Err(self.shed(permit.request.class, RejectReason::Breaker, left))
            }
            BreakerPass::Free | BreakerPass::Probe => Ok(permit),
        }
    }

    fn ask_breaker(&self, permit: &mut Permit) -> BreakerPass {
        let now = self.clock.mono();
        let mut state = self.state.lock();
        let pass = state.breaker.try_pass(now);
        if matches!(pass, BreakerPass::Free | BreakerPass::Probe) {
            state.retries.pay_in();
            (permit.pass, permit.admitted) = (pass, now);
        }
        pass
    }

    /// Returns the permit of a request that the limit has admitted.
    fn permit(self: &Arc<Self>, request: AdmissionRequest) -> Permit {
        Permit {
            gate: Arc::clone(self),
            request,
            placed: true,
            admitted: self.clock.mono(),
            pass: BreakerPass::Free,
            signal: LoadSignal::None,
            verdict: Verdict::None,
        }
    }

    fn leave(&self, request: &AdmissionRequest, signal: LoadSignal) {
        let mut state = self.state.lock();
        self.observe(pressure::load(&state.limit, signal));
        let next = state.limit.leave(request, signal);
        self.call(&mut state, next);
    }

    /// Reports a request that the origin has answered, where the limit is [searched for](GateOptions::search).
    pub fn exchanged(&self, exchange: Exchange) {
        let mut state = self.state.lock();
        let next = state.limit.exchanged(self.clock.mono(), exchange);
        self.call(&mut state, next);
    }

    /// Calls queued requests that have been admitted.
    fn call(&self, state: &mut GateState, mut next: Vec<(Ticket, AdmissionRequest)>) {
        while let Some((ticket, admitted)) = next.pop() {
            let sender = state.queue.remove(&ticket);
            let gone = sender.is_none_or(|sender| sender.send(()).is_err());
            if gone {
                next.extend(state.limit.leave(&admitted, LoadSignal::None));
            }
        }
        self.report(&state.limit);
    }

    fn report(&self, limit: &ConcurrencyLimit) {
        self.places.set(limit.limit(), limit.in_flight(), limit.queued());
    }

    fn shed(&self, class: Class, reason: RejectReason, retry_after: Duration) -> Rejected {
        self.observe(OriginLoad { overloaded: true, ..OriginLoad::default() });
        self.reject(class, reason, retry_after)
    }

    fn reject(&self, class: Class, reason: RejectReason, retry_after: Duration) -> Rejected {
        self.metrics.shed(&self.name, reason.as_str(), class);
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
        self.options.load_timeout
    }

    pub(super) fn random(&self) -> f64 {
        self.chance.unit()
    }

    /// Pays for a retry from the budget, if loads are retried and it can.
    pub(super) fn spend_retry(&self) -> bool {
        self.options.retries && self.state.lock().retries.spend()
    }
}

/// A place in the queue; given up when dropped, unless its turn came and was taken.
struct QueueSlot {
    gate: Arc<OriginGate>,
    request: AdmissionRequest,
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
        self.gate.report(&state.limit);
        // Its turn has just come and was not taken.
        let called = self.turn.try_recv().is_ok();
        drop(state);
        if called {
            self.gate.leave(&self.request, LoadSignal::None);
        }
    }
}

impl Permit {
    /// Ends the request with its outcome; its duration counts from the admission.
    pub fn finish(mut self, outcome: RequestOutcome) {
        let took = self.gate.now().since(self.admitted);
        self.record(outcome, took);
    }

    /// Gives the place back while the request waits for its own caller, such as for an upload. The origin
    /// is not loaded meanwhile.
    pub fn pause(&mut self) {
        if std::mem::take(&mut self.placed) {
            self.gate.leave(&self.request, LoadSignal::None);
        }
    }

    /// Takes a place again, also above the limit: the origin has the request already.
    pub fn resume(&mut self) {
        if !std::mem::replace(&mut self.placed, true) {
            let mut state = self.gate.state.lock();
            state.limit.force(&self.request);
            self.gate.report(&state.limit);
        }
    }

    /// Records the outcome of the last try.
    pub(super) fn record(&mut self, outcome: RequestOutcome, took: Duration) {
        let is_slow = self.gate.options.slow_load.is_some_and(|slow| took > slow);
        (self.verdict, self.signal) = match outcome {
            RequestOutcome::Succeeded if is_slow => (Verdict::Slow, LoadSignal::Latency(took)),
            RequestOutcome::Succeeded => (Verdict::Good, LoadSignal::Latency(took)),
            RequestOutcome::Answered => (Verdict::Good, LoadSignal::None),
            RequestOutcome::Failed => (Verdict::Failed, LoadSignal::Overload),
            RequestOutcome::Silent => (Verdict::Silent, LoadSignal::Overload),
            RequestOutcome::Refused => (Verdict::Refused, LoadSignal::Overload),
        };
    }

    /// Records the outcome for the circuit breaker only, and only if this request is its probe.
    pub(super) fn record_probe(&mut self, good: bool) {
        if matches!(self.pass, BreakerPass::Probe) {
            self.verdict = if good { Verdict::Good } else { Verdict::Failed };
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.verdict != Verdict::None {
            let now = self.gate.clock.mono();
            let mut state = self.gate.state.lock();
            let good = match self.verdict {
                Verdict::Good => Some(true),
                Verdict::Slow | Verdict::Failed => Some(false),
                Verdict::Silent if state.last_answer >= Some(self.admitted) => None,
                Verdict::Silent => Some(false),
                Verdict::Refused | Verdict::None => None,
            };
            if matches!(self.verdict, Verdict::Good | Verdict::Slow | Verdict::Refused) {
                state.last_answer = Some(now);
            }
            if let Some(good) = good {
                state.breaker.record(now, self.pass, good);
                self.gate.metrics.breaker(&self.gate.name, state.breaker.level());
            }
        }
        if self.pass == BreakerPass::Probe {
            self.gate.probed.notify_waiters();
        }
        if self.placed {
            self.gate.leave(&self.request, self.signal);
        }
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
