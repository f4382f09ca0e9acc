//! How many loads an origin may have under way, and who goes first.
//!
//! The limit follows the origin: it grows while loads come back as fast as they usually do, and
//! shrinks when they slow down or fail ("gradient", after Netflix's `concurrency-limits`,
//! `Gradient2Limit`). Less important loads may use only a part of it, and when the queue is full
//! the least important one in it gives way.

use std::collections::VecDeque;
use std::time::Duration;

use contract::Class;

/// The limit never goes below this.
const MIN_LIMIT: f64 = 4.0;
/// Where it begins, if the origin may have so many. Not low: what may not be stored is loaded for
/// each of its readers, and right after a start all of them would queue behind a limit that nothing
/// has shown to be needed. An origin that can't bear it shows that with its first answers, and each
/// of them takes up to a tenth off.
const FIRST_LIMIT: f64 = 128.0;
/// A load may take this many times as long as usual before the limit shrinks.
const TOLERANCE: f64 = 2.0;
/// How much of each new estimate is taken over.
const SMOOTHING: f64 = 0.2;
/// Room for a short queue at the origin, in loads.
const HEADROOM: f64 = 4.0;
/// "Usual" is an average over about this many loads.
const USUAL_OVER: f64 = 500.0;

/// A load that asked to be let in.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Ticket(pub(crate) u64);

/// The answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Entrance {
    /// Go.
    In,
    /// Wait until [`Limiter::leave`] names the ticket. If another had to give way, it is named
    /// here.
    Queued { gives_way: Option<Ticket> },
    /// No.
    Full,
}

/// How a load ended, as far as it says something about the origin's load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Sign {
    /// It took this long.
    Took(Duration),
    /// It failed in a way that asks for fewer loads.
    Overload,
    /// It says nothing.
    None,
}

/// The state machine.
#[derive(Clone, Debug)]
pub(crate) struct Limiter {
    limit: f64,
    most: f64,
    under_way: usize,
    usual_secs: f64,
    /// Waiting, by class, oldest first.
    queues: [VecDeque<Ticket>; 3],
    queue_most: usize,
}

impl Limiter {
    /// `most` loads at most, `queue_most` waiting.
    pub(crate) fn new(most: usize, queue_most: usize) -> Self {
        let most = (most as f64).max(1.0);
        Self {
            limit: FIRST_LIMIT.min(most),
            most,
            under_way: 0,
            usual_secs: 0.0,
            queues: Default::default(),
            queue_most,
        }
    }

    /// A load wants in. `wait`: whether it would queue.
    pub(crate) fn enter(&mut self, ticket: Ticket, class: Class, wait: bool) -> Entrance {
        if self.has_room(class) {
            self.under_way += 1;
            return Entrance::In;
        }
        if !wait {
            return Entrance::Full;
        }
        let gives_way = if self.waiting() < self.queue_most {
            None
        } else {
            let lesser = self.queues[..rank(class)].iter_mut().find(|queue| !queue.is_empty());
            let Some(lesser) = lesser else { return Entrance::Full };
            lesser.pop_back()
        };
        self.queues[rank(class)].push_back(ticket);
        Entrance::Queued { gives_way }
    }

    /// A load that was in ended. Answers who may go in now.
    pub(crate) fn leave(&mut self, sign: Sign) -> Vec<Ticket> {
        self.learn(sign);
        self.under_way = self.under_way.saturating_sub(1);
        let mut next = Vec::new();
        for class in [Class::Critical, Class::Standard, Class::Ephemeral] {
            while self.has_room(class) {
                let Some(ticket) = self.queues[rank(class)].pop_front() else { break };
                self.under_way += 1;
                next.push(ticket);
            }
        }
        next
    }

    /// A waiting load gave up. False: it had been let in already.
    pub(crate) fn give_up(&mut self, ticket: Ticket) -> bool {
        self.queues.iter_mut().any(|queue| {
            let at = queue.iter().position(|waiting| *waiting == ticket);
            at.and_then(|at| queue.remove(at)).is_some()
        })
    }

    fn has_room(&self, class: Class) -> bool {
        let share = match class {
            Class::Critical => 1.0,
            Class::Standard => 0.9,
            Class::Ephemeral => 0.7,
        };
        // At least one of each class may go when nothing else is under way.
        self.under_way == 0 || (self.under_way as f64) < (self.limit * share).floor()
    }

    /// How many loads wait.
    pub(crate) fn waiting(&self) -> usize {
        self.queues.iter().map(VecDeque::len).sum()
    }

    fn learn(&mut self, sign: Sign) {
        let took = match sign {
            Sign::None => return,
            Sign::Overload => {
                self.limit = (self.limit * 0.9).clamp(MIN_LIMIT.min(self.most), self.most);
                return;
            }
            Sign::Took(took) => took.as_secs_f64().max(1e-6),
        };
        if self.usual_secs == 0.0 {
            self.usual_secs = took;
        }
        // Usual goes up slowly, so that a slow origin does not become the usual one; and comes down
        // quickly, so that one slow start is not the measure of everything.
        let weight = if took < self.usual_secs { 10.0 } else { 1.0 } / USUAL_OVER;
        self.usual_secs += (took - self.usual_secs) * weight;
        // A limit that is not used says nothing about a larger one.
        if (self.under_way as f64) < self.limit / 2.0 {
            return;
        }
        let gradient = (TOLERANCE * self.usual_secs / took).clamp(0.5, 1.0);
        let aim = self.limit * gradient + HEADROOM;
        let limit = self.limit * (1.0 - SMOOTHING) + aim * SMOOTHING;
        self.limit = limit.clamp(MIN_LIMIT.min(self.most), self.most);
    }

    /// How many loads are under way.
    pub(crate) fn under_way(&self) -> usize {
        self.under_way
    }

    /// How long a load took, in times of the usual; 0: nothing is usual yet.
    pub(crate) fn slowness(&self, sign: Sign) -> f64 {
        match sign {
            Sign::Took(took) if self.usual_secs > 0.0 => took.as_secs_f64() / self.usual_secs,
            _ => 0.0,
        }
    }

    /// The present limit in loads.
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

#[cfg(test)]
mod tests {
    use super::*;

    const FAST: Sign = Sign::Took(Duration::from_millis(1));

    fn full(class: Class, most: usize, queue: usize) -> Limiter {
        let mut limiter = Limiter::new(most, queue);
        let mut ticket = 1_000;
        while limiter.enter(Ticket(ticket), class, false) == Entrance::In {
            ticket += 1;
        }
        limiter
    }

    #[test]
    fn the_least_important_is_refused_first() {
        let mut limiter = full(Class::Ephemeral, 10, 0);
        assert_eq!(limiter.enter(Ticket(1), Class::Standard, false), Entrance::In);
        let mut limiter = full(Class::Standard, 10, 0);
        assert_eq!(limiter.enter(Ticket(1), Class::Ephemeral, false), Entrance::Full);
        assert_eq!(limiter.enter(Ticket(2), Class::Critical, false), Entrance::In);
        assert_eq!(limiter.enter(Ticket(3), Class::Critical, false), Entrance::Full);
    }

    #[test]
    fn in_a_full_queue_the_least_important_gives_way() {
        let mut limiter = full(Class::Critical, 10, 2);
        let queued = Entrance::Queued { gives_way: None };
        assert_eq!(limiter.enter(Ticket(1), Class::Standard, true), queued);
        assert_eq!(limiter.enter(Ticket(2), Class::Ephemeral, true), queued);
        assert_eq!(limiter.enter(Ticket(3), Class::Ephemeral, true), Entrance::Full);
        let entrance = limiter.enter(Ticket(4), Class::Critical, true);
        assert_eq!(entrance, Entrance::Queued { gives_way: Some(Ticket(2)) });
        assert_eq!(limiter.leave(Sign::None), [Ticket(4)], "the most important goes first");
        assert!(limiter.give_up(Ticket(1)));
        assert!(!limiter.give_up(Ticket(4)), "it is in already");
    }

    #[test]
    fn slowness_shrinks_the_limit_and_speed_gives_it_back() {
        let mut limiter = full(Class::Critical, 40, 0);
        let load = |limiter: &mut Limiter, sign| {
            while limiter.enter(Ticket(0), Class::Critical, false) == Entrance::In {}
            limiter.leave(sign);
        };
        for _ in 0..200 {
            load(&mut limiter, FAST);
        }
        assert_eq!(limiter.limit(), 40, "a fast origin gets all it may have");
        for _ in 0..60 {
            load(&mut limiter, Sign::Took(Duration::from_millis(20)));
        }
        assert!(limiter.limit() < 15, "{} is too many for a slow origin", limiter.limit());
        for _ in 0..30 {
            load(&mut limiter, Sign::Overload);
        }
        assert_eq!(limiter.limit(), 4, "never to nothing");
        for _ in 0..400 {
            load(&mut limiter, FAST);
        }
        assert_eq!(limiter.limit(), 40);
    }
}
