//! The adaptive concurrency limit of an origin, with a queue by priority class.
//!
//! The limit follows the origin: it grows while requests take their usual time, and shrinks when they slow
//! down or fail ("gradient", after Netflix's `concurrency-limits`, `Gradient2Limit`). Lower classes may use
//! only a part of it, and a full queue sheds its lowest class to make room for a higher one.

use std::collections::VecDeque;
use std::time::Duration;

use contract::Class;

/// The lower bound of the limit.
const MIN_LIMIT: f64 = 4.0;
/// The initial limit, if the origin's maximum allows it. It is not low: uncacheable data is loaded for
/// each of its readers, and right after a start all of them would queue behind a limit without evidence
/// that it is needed. An overloaded origin slows down or fails with its first answers, and each of them
/// takes up to a tenth off.
const INITIAL_LIMIT: f64 = 128.0;
/// The multiple of the usual latency above which the limit shrinks.
const TOLERANCE: f64 = 2.0;
/// The weight of a new estimate.
const SMOOTHING: f64 = 0.2;
/// Room for a short queue at the origin, in requests.
const HEADROOM: f64 = 4.0;
/// The number of requests that the usual latency is averaged over.
const USUAL_WINDOW: f64 = 500.0;

/// A request that has been entered.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Ticket(pub(crate) u64);

/// The decision about a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Admission {
    /// It is in progress.
    Admitted,
    /// It waits until [`ConcurrencyLimit::leave`] returns its ticket. `shed`: the queued request of a lower
    /// class that was removed to make room.
    Queued { shed: Option<Ticket> },
    /// It is rejected.
    Full,
}

/// The outcome of a request, as far as it is a signal about the origin's load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum LoadSignal {
    /// It succeeded after this time.
    Latency(Duration),
    /// It failed in a way that calls for fewer requests.
    Overload,
    /// No signal.
    None,
}

/// The state machine of the limit.
#[derive(Clone, Debug)]
pub(crate) struct ConcurrencyLimit {
    limit: f64,
    max: f64,
    in_flight: usize,
    usual_secs: f64,
    /// The queued requests by class, oldest first.
    queues: [VecDeque<Ticket>; 3],
    max_queued: usize,
}

impl ConcurrencyLimit {
    /// Creates a limit of at most `max` requests, with at most `max_queued` in the queue.
    pub(crate) fn new(max: usize, max_queued: usize) -> Self {
        let max = (max as f64).max(1.0);
        Self {
            limit: INITIAL_LIMIT.min(max),
            max,
            in_flight: 0,
            usual_secs: 0.0,
            queues: Default::default(),
            max_queued,
        }
    }

    /// Decides about a new request. `queues`: whether it may wait in the queue.
    pub(crate) fn enter(&mut self, ticket: Ticket, class: Class, queues: bool) -> Admission {
        if self.has_room(class) {
            self.in_flight += 1;
            return Admission::Admitted;
        }
        if !queues {
            return Admission::Full;
        }
        let shed = if self.queued() < self.max_queued {
            None
        } else {
            let lower = self.queues[..rank(class)].iter_mut().find(|queue| !queue.is_empty());
            let Some(lower) = lower else { return Admission::Full };
            lower.pop_back()
        };
        self.queues[rank(class)].push_back(ticket);
        Admission::Queued { shed }
    }

    /// Ends an admitted request. Returns the queued requests that are admitted in its place.
    pub(crate) fn leave(&mut self, signal: LoadSignal) -> Vec<Ticket> {
        self.learn(signal);
        self.in_flight = self.in_flight.saturating_sub(1);
        let mut next = Vec::new();
        for class in [Class::Critical, Class::Standard, Class::Ephemeral] {
            while self.has_room(class) {
                let Some(ticket) = self.queues[rank(class)].pop_front() else { break };
                self.in_flight += 1;
                next.push(ticket);
            }
        }
        next
    }

    /// Removes a queued request. Returns false if it has been admitted already.
    pub(crate) fn give_up(&mut self, ticket: Ticket) -> bool {
        self.queues.iter_mut().any(|queue| {
            let at = queue.iter().position(|queued| *queued == ticket);
            at.and_then(|at| queue.remove(at)).is_some()
        })
    }

    fn has_room(&self, class: Class) -> bool {
        (self.in_flight as f64) < class_capacity(self.limit, class)
    }

    /// The number of queued requests.
    pub(crate) fn queued(&self) -> usize {
        self.queues.iter().map(VecDeque::len).sum()
    }

    fn learn(&mut self, signal: LoadSignal) {
        let took = match signal {
            LoadSignal::None => return,
            LoadSignal::Overload => {
                self.limit = (self.limit * 0.9).clamp(MIN_LIMIT.min(self.max), self.max);
                return;
            }
            LoadSignal::Latency(took) => took.as_secs_f64().max(1e-6),
        };
        if self.usual_secs == 0.0 {
            self.usual_secs = took;
        }
        // The usual latency rises slowly, so that a slow origin does not become the norm; and falls
        // quickly, so that one slow start does not.
        let weight = if took < self.usual_secs { 10.0 } else { 1.0 } / USUAL_WINDOW;
        self.usual_secs += (took - self.usual_secs) * weight;
        // A limit that is not used is no evidence for a larger one.
        if (self.in_flight as f64) < self.limit / 2.0 {
            return;
        }
        let gradient = (TOLERANCE * self.usual_secs / took).clamp(0.5, 1.0);
        let target = self.limit * gradient + HEADROOM;
        let limit = self.limit * (1.0 - SMOOTHING) + target * SMOOTHING;
        self.limit = limit.clamp(MIN_LIMIT.min(self.max), self.max);
    }

    /// The number of requests in progress.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// The latency of a request as a multiple of the usual latency; 0: no usual latency is known yet.
    pub(crate) fn slowness(&self, signal: LoadSignal) -> f64 {
        match signal {
            LoadSignal::Latency(took) if self.usual_secs > 0.0 => {
                took.as_secs_f64() / self.usual_secs
            }
            _ => 0.0,
        }
    }

    /// The current limit, in requests.
    pub(crate) fn limit(&self) -> usize {
        self.limit as usize
    }
}

fn rank(class: Class) -> usize {
    match class {
        Class::Ephemeral => 0,
        Class::Standard => 1,
        Class::Critical => 2,
    }
}

/// Returns how many requests of a class and of the classes above it may be in progress under a limit:
/// all of it for [`Class::Critical`], 90 % for [`Class::Standard`], 70 % for [`Class::Ephemeral`], and at
/// least one.
#[must_use]
pub fn class_capacity(limit: f64, class: Class) -> f64 {
    let share = match class {
        Class::Critical => 1.0,
        Class::Standard => 0.9,
        Class::Ephemeral => 0.7,
    };
    (limit * share).floor().max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAST: LoadSignal = LoadSignal::Latency(Duration::from_millis(1));

    fn full(class: Class, max: usize, queue: usize) -> ConcurrencyLimit {
        let mut limit = ConcurrencyLimit::new(max, queue);
        let mut ticket = 1_000;
        while limit.enter(Ticket(ticket), class, false) == Admission::Admitted {
            ticket += 1;
        }
        limit
    }

    #[test]
    fn lower_class_rejected_first() {
        let mut limit = full(Class::Ephemeral, 10, 0);
        assert_eq!(limit.enter(Ticket(1), Class::Standard, false), Admission::Admitted);
        let mut limit = full(Class::Standard, 10, 0);
        assert_eq!(limit.enter(Ticket(1), Class::Ephemeral, false), Admission::Full);
        assert_eq!(limit.enter(Ticket(2), Class::Critical, false), Admission::Admitted);
        assert_eq!(limit.enter(Ticket(3), Class::Critical, false), Admission::Full);
    }

    #[test]
    fn full_queue_sheds_lower_class() {
        let mut limit = full(Class::Critical, 10, 2);
        let queued = Admission::Queued { shed: None };
        assert_eq!(limit.enter(Ticket(1), Class::Standard, true), queued);
        assert_eq!(limit.enter(Ticket(2), Class::Ephemeral, true), queued);
        assert_eq!(limit.enter(Ticket(3), Class::Ephemeral, true), Admission::Full);
        let admission = limit.enter(Ticket(4), Class::Critical, true);
        assert_eq!(admission, Admission::Queued { shed: Some(Ticket(2)) });
        assert_eq!(
            limit.leave(LoadSignal::None),
            [Ticket(4)],
            "the higher class is admitted first"
        );
        assert!(limit.give_up(Ticket(1)));
        assert!(!limit.give_up(Ticket(4)), "it has been admitted already");
    }

    #[test]
    fn limit_follows_latency() {
        let mut limit = full(Class::Critical, 40, 0);
        let load = |limit: &mut ConcurrencyLimit, signal| {
            while limit.enter(Ticket(0), Class::Critical, false) == Admission::Admitted {}
            limit.leave(signal);
        };
        for _ in 0..200 {
            load(&mut limit, FAST);
        }
        assert_eq!(limit.limit(), 40, "a fast origin gets its maximum");
        for _ in 0..60 {
            load(&mut limit, LoadSignal::Latency(Duration::from_millis(20)));
        }
        assert!(limit.limit() < 15, "{} is too many for a slow origin", limit.limit());
        for _ in 0..30 {
            load(&mut limit, LoadSignal::Overload);
        }
        assert_eq!(limit.limit(), 4, "never to zero");
        for _ in 0..400 {
            load(&mut limit, FAST);
        }
        assert_eq!(limit.limit(), 40);
    }
}
