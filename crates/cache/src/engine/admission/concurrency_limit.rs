//! The adaptive concurrency limit of an origin, with a queue by priority class.
//!
//! The limit follows the origin: it grows while requests take their usual time, and shrinks when they slow
//! down or fail ("gradient", after Netflix's `concurrency-limits`, `Gradient2Limit`); or it is searched for
//! (`limit_search.rs`). Lower classes, loads and each party may use only a part of it, and a full queue sheds its lowest class to make
//! room for a higher one.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use coherence::Mono;
use contract::Class;

use super::limit_search::{Exchange, LimitRange, LimitSearch};
use super::request::{AdmissionRequest, Lane, Shares};
use crate::origin::Party;

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

/// The bounds of a limit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LimitBounds {
    /// The maximum number of requests in progress.
    pub(crate) max: usize,
    /// The maximum number of requests in the queue.
    pub(crate) max_queued: usize,
    /// The range in which the limit is searched for, below `max`; `None`: it follows the latency.
    pub(crate) search: Option<LimitRange>,
    pub(crate) shares: Shares,
}

/// The state machine of the limit.
#[derive(Clone, Debug)]
pub(crate) struct ConcurrencyLimit {
    limit: f64,
    max: f64,
    search: Option<LimitSearch>,
    shares: Shares,
    in_flight: usize,
    /// The loads among the requests in flight.
    loads: usize,
    /// The requests in flight of each party that has one.
    parties: HashMap<Party, usize>,
    usual_secs: f64,
    /// The queued requests by class, oldest first.
    queues: [VecDeque<(Ticket, AdmissionRequest)>; 3],
    /// The queued requests of each party that has one.
    queued_parties: HashMap<Party, usize>,
    max_queued: usize,
}

impl ConcurrencyLimit {
    /// Creates a limit without requests.
    pub(crate) fn new(bounds: LimitBounds) -> Self {
        let max = (bounds.max as f64).max(1.0);
        let search = bounds.search.map(|range| LimitSearch::new(range, max));
        Self {
            limit: search.as_ref().map_or(INITIAL_LIMIT.min(max), LimitSearch::limit),
            max,
            search,
            shares: bounds.shares,
            in_flight: 0,
            loads: 0,
            parties: HashMap::new(),
            usual_secs: 0.0,
            queues: Default::default(),
            queued_parties: HashMap::new(),
            max_queued: bounds.max_queued,
        }
    }

    /// Decides about a new request. `queues`: whether it may wait in the queue.
    pub(crate) fn enter(
        &mut self,
        ticket: Ticket,
        request: AdmissionRequest,
        queues: bool,
    ) -> Admission {
        if self.has_room(&request) {
            self.force(&request);
            return Admission::Admitted;
        }
        if !queues || !self.has_queue_room(&request) {
            return Admission::Full;
        }
        let shed = if self.queued() < self.max_queued {
            None
        } else {
            let lower =
                self.queues[..rank(request.class)].iter_mut().find(|queue| !queue.is_empty());
            let Some((shed, of)) = lower.and_then(VecDeque::pop_back) else {
                return Admission::Full;
            };
            count_down(&mut self.queued_parties, of.party);
            Some(shed)
        };
        count_up(&mut self.queued_parties, request.party);
        self.queues[rank(request.class)].push_back((ticket, request));
        Admission::Queued { shed }
    }

    /// Counts a request as in flight, also above the limit: the origin has it already.
    pub(crate) fn force(&mut self, request: &AdmissionRequest) {
        self.in_flight += 1;
        self.loads += usize::from(request.lane == Lane::Load);
        count_up(&mut self.parties, request.party);
    }

    /// Ends an admitted request. Returns the queued requests that are admitted in its place.
    pub(crate) fn leave(
        &mut self,
        request: &AdmissionRequest,
        signal: LoadSignal,
    ) -> Vec<(Ticket, AdmissionRequest)> {
        self.learn(signal);
        self.in_flight = self.in_flight.saturating_sub(1);
        self.loads = self.loads.saturating_sub(usize::from(request.lane == Lane::Load));
        count_down(&mut self.parties, request.party);
        self.admit_waiting()
    }

    /// Learns from a request that has ended at `now`, where the limit is searched for. Returns the queued requests
    /// that are admitted under the new limit.
    pub(crate) fn exchanged(
        &mut self,
        now: Mono,
        exchange: Exchange,
    ) -> Vec<(Ticket, AdmissionRequest)> {
        let waiting = self.queued() > 0;
        let Some(search) = &mut self.search else { return Vec::new() };
        search.learn(now, exchange, waiting);
        self.limit = search.limit();
        self.admit_waiting()
    }

    fn admit_waiting(&mut self) -> Vec<(Ticket, AdmissionRequest)> {
        let mut next = Vec::new();
        for class in [Class::Critical, Class::Standard, Class::Ephemeral] {
            self.admit_queued(class, &mut next);
        }
        next
    }

    /// Admits queued requests of a class, oldest first. A request whose lane or party has no room lets
    /// others overtake it.
    fn admit_queued(&mut self, class: Class, next: &mut Vec<(Ticket, AdmissionRequest)>) {
        let mut at = 0;
        while self.has_class_room(class)
            && let Some((_, request)) = self.queues[rank(class)].get(at)
        {
            if !self.has_room(request) {
                at += 1;
                continue;
            }
            if let Some((ticket, request)) = self.queues[rank(class)].remove(at) {
                count_down(&mut self.queued_parties, request.party);
                self.force(&request);
                next.push((ticket, request));
            }
        }
    }

    /// Removes a queued request. Returns false if it has been admitted already.
    pub(crate) fn give_up(&mut self, ticket: Ticket) -> bool {
        let removed = self.queues.iter_mut().find_map(|queue| {
            let at = queue.iter().position(|(queued, _)| *queued == ticket)?;
            queue.remove(at)
        });
        if let Some((_, request)) = &removed {
            count_down(&mut self.queued_parties, request.party);
        }
        removed.is_some()
    }

    fn has_room(&self, request: &AdmissionRequest) -> bool {
        let below = |taken: usize, share: f64| {
            (taken as f64) < class_capacity(self.limit * share, request.class)
        };
        let of_party = request.party.and_then(|party| self.parties.get(&party)).copied();
        self.has_class_room(request.class)
            && (request.lane == Lane::Pass || below(self.loads, self.shares.loads))
            && (request.party.is_none() || below(of_party.unwrap_or(0), self.shares.party))
    }

    fn has_class_room(&self, class: Class) -> bool {
        (self.in_flight as f64) < class_capacity(self.limit, class)
    }

    /// Whether the party of a request has room in the queue.
    fn has_queue_room(&self, request: &AdmissionRequest) -> bool {
        let queued = request.party.and_then(|party| self.queued_parties.get(&party)).copied();
        (queued.unwrap_or(0) as f64) < (self.max_queued as f64 * self.shares.party).max(1.0)
    }

    /// The number of queued requests.
    pub(crate) fn queued(&self) -> usize {
        self.queues.iter().map(VecDeque::len).sum()
    }

    fn learn(&mut self, signal: LoadSignal) {
        let took = match signal {
            LoadSignal::None => return,
            LoadSignal::Overload if self.search.is_some() => return,
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
        if self.search.is_some() || (self.in_flight as f64) < self.limit / 2.0 {
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

fn count_up(counts: &mut HashMap<Party, usize>, party: Option<Party>) {
    if let Some(party) = party {
        *counts.entry(party).or_default() += 1;
    }
}

fn count_down(counts: &mut HashMap<Party, usize>, party: Option<Party>) {
    let Some(party) = party else { return };
    if let Some(count) = counts.get_mut(&party) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&party);
        }
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

    /// A limit of ten requests.
    fn limit(max_queued: usize, shares: Shares) -> ConcurrencyLimit {
        let search = Some(LimitRange { min: 10, start: 10 });
        ConcurrencyLimit::new(LimitBounds { max: 10, max_queued, search, shares })
    }

    fn adaptive(max: usize) -> ConcurrencyLimit {
        let shares = Shares::default();
        ConcurrencyLimit::new(LimitBounds { max, max_queued: 0, search: None, shares })
    }

    /// Admits as many requests as there is room for, and returns their number.
    fn fill(limit: &mut ConcurrencyLimit, request: AdmissionRequest) -> usize {
        let enter =
            || (limit.enter(Ticket(0), request, false) == Admission::Admitted).then_some(());
        std::iter::from_fn(enter).count()
    }

    fn full(class: Class, max_queued: usize) -> ConcurrencyLimit {
        let mut limit = limit(max_queued, Shares::default());
        fill(&mut limit, class.into());
        limit
    }

    fn load(class: Class, party: u64) -> AdmissionRequest {
        AdmissionRequest { class, lane: Lane::Load, party: Some(Party(party)) }
    }

    fn tickets(admitted: Vec<(Ticket, AdmissionRequest)>) -> Vec<u64> {
        admitted.into_iter().map(|(ticket, _)| ticket.0).collect()
    }

    #[test]
    fn lower_class_rejected_first() {
        let mut limit = full(Class::Ephemeral, 0);
        assert_eq!(fill(&mut limit, Class::Standard.into()), 2);
        assert_eq!(fill(&mut limit, Class::Ephemeral.into()), 0);
        assert_eq!(fill(&mut limit, Class::Critical.into()), 1);
    }

    #[test]
    fn full_queue_sheds_lower_class() {
        let mut limit = full(Class::Critical, 2);
        let mut enter = |ticket, class: Class| limit.enter(Ticket(ticket), class.into(), true);
        let queued = Admission::Queued { shed: None };
        assert_eq!(enter(1, Class::Standard), queued);
        assert_eq!(enter(2, Class::Ephemeral), queued);
        assert_eq!(enter(3, Class::Ephemeral), Admission::Full);
        assert_eq!(enter(4, Class::Critical), Admission::Queued { shed: Some(Ticket(2)) });
        let next = limit.leave(&Class::Critical.into(), LoadSignal::None);
        assert_eq!(tickets(next), [4], "the higher class is admitted first");
        assert!(limit.give_up(Ticket(1)));
        assert!(!limit.give_up(Ticket(4)), "it has been admitted already");
    }

    #[test]
    fn loads_leave_room_for_passes() {
        let mut limit = limit(10, Shares { loads: 0.5, party: 1.0 });
        assert_eq!(fill(&mut limit, load(Class::Critical, 1)), 5);
        let queued = Admission::Queued { shed: None };
        assert_eq!(limit.enter(Ticket(1), load(Class::Critical, 2), true), queued);
        assert_eq!(fill(&mut limit, Class::Critical.into()), 5);
        assert_eq!(limit.enter(Ticket(2), Class::Standard.into(), true), queued);
        let next = limit.leave(&Class::Critical.into(), LoadSignal::None);
        assert!(next.is_empty(), "no room for loads, nor for the standard class");
        let next = limit.leave(&load(Class::Critical, 1), LoadSignal::None);
        assert_eq!(tickets(next), [1]);
    }

    #[test]
    fn party_leaves_room_for_others() {
        let mut limit = limit(4, Shares { loads: 1.0, party: 0.5 });
        assert_eq!(fill(&mut limit, load(Class::Critical, 1)), 5);
        for (ticket, admission) in [
            (1, Admission::Queued { shed: None }),
            (2, Admission::Queued { shed: None }),
            (3, Admission::Full),
        ] {
            assert_eq!(limit.enter(Ticket(ticket), load(Class::Critical, 1), true), admission);
        }
        assert_eq!(fill(&mut limit, load(Class::Critical, 2)), 5, "places for another party");
        let queued = limit.enter(Ticket(4), load(Class::Critical, 3), true);
        assert_eq!(queued, Admission::Queued { shed: None }, "and room in the queue");
        let next = limit.leave(&load(Class::Critical, 2), LoadSignal::None);
        assert_eq!(tickets(next), [4], "it overtakes the party that has its share");
        let next = limit.leave(&load(Class::Critical, 1), LoadSignal::None);
        assert_eq!(tickets(next), [1]);
    }

    #[test]
    fn forced_request_exceeds_limit() {
        let mut limit = full(Class::Critical, 1);
        limit.force(&Class::Critical.into());
        assert_eq!(limit.in_flight(), 11);
        let queued = limit.enter(Ticket(1), Class::Critical.into(), true);
        assert_eq!(queued, Admission::Queued { shed: None });
        assert!(limit.leave(&Class::Critical.into(), LoadSignal::None).is_empty());
        let next = limit.leave(&Class::Critical.into(), LoadSignal::None);
        assert_eq!(tickets(next), [1]);
    }

    #[test]
    fn fixed_limit_ignores_latency() {
        let mut limit = limit(0, Shares::default());
        for signal in [LoadSignal::Overload, LoadSignal::Latency(Duration::from_secs(9)), FAST] {
            fill(&mut limit, Class::Critical.into());
            limit.leave(&Class::Critical.into(), signal);
            assert_eq!(limit.limit(), 10, "{signal:?}");
        }
    }

    #[test]
    fn limit_follows_latency() {
        let mut limit = adaptive(40);
        let load = |limit: &mut ConcurrencyLimit, signal| {
            fill(limit, Class::Critical.into());
            limit.leave(&Class::Critical.into(), signal);
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
