//! The search for the number of places at an upstream.
//!
//! A place is worth having if it adds throughput. While requests wait for places, the search changes the limit by a
//! step and compares the time of the quicker requests before and after. An upstream with all workers busy answers
//! in proportion to the number of requests that it has: then fewer places take nothing from the throughput, and the
//! limit falls. One that is not busy, or is slow for another reason, takes as long as before: then more places
//! add throughput, and the limit rises. So slow pages lower no limit, since fewer places make them no quicker, and
//! no knowledge of the usual time of a page is necessary.
//!
//! Beside that, refusals (503, 429) of many pages lower the limit.

use std::collections::HashSet;
use std::time::Duration;

use coherence::Mono;

/// The factor of a step.
const STEP: f64 = 1.4;
/// The same, while no step has failed.
const FIRST_STEP: f64 = 2.0;
/// After a step, a time changed by less than this share of the step counts as unchanged.
const SENSITIVITY: f64 = 0.5;
/// The least number of requests of a window.
const MIN_SAMPLES: usize = 16;
/// The windows without a step, after steps in both directions have failed.
const REST: u32 = 8;
/// The share of refusals, and the number of pages with one, from which the limit falls.
const REFUSED_SHARE: f64 = 0.2;
const REFUSED_PAGES: usize = 4;

/// The range of a limit that is searched for, and its start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LimitRange {
    /// The lower end.
    pub min: usize,
    /// The limit at the start.
    pub start: usize,
}

/// One request that an upstream has answered.
#[derive(Clone, Copy, Debug)]
pub struct Exchange {
    /// When it was sent.
    pub began: Mono,
    /// The time until the head of its response.
    pub took: Duration,
    /// Identifies its page.
    pub page: u64,
    /// Whether the upstream has refused it for lack of room.
    pub refused: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Direction {
    Up,
    Down,
}

impl Direction {
    fn opposite(self) -> Self {
        match self {
            Self::Up => Self::Down,
            Self::Down => Self::Up,
        }
    }
}

/// A step whose effect is not known yet.
#[derive(Clone, Copy, Debug)]
struct Step {
    direction: Direction,
    from: f64,
    /// The time of the quicker requests before it, in seconds.
    before: f64,
}

/// The state machine of the search.
#[derive(Clone, Debug)]
pub(crate) struct LimitSearch {
    limit: f64,
    min: f64,
    max: f64,
    window: Window,
    step: Option<Step>,
    next: Direction,
    /// The steps in a row that have failed.
    failed: u32,
    rest: u32,
    has_failed: bool,
}

/// The requests since the last decision.
#[derive(Clone, Debug)]
struct Window {
    since: Mono,
    /// The requests that are still to be ignored: sent together as the limit rose, they see a queue that grows.
    ignored: usize,
    seconds: Vec<f64>,
    /// The requests after whose end others still waited.
    bound: usize,
    refused: usize,
    refused_pages: HashSet<u64>,
}

impl Window {
    /// `risen`: the number by which the limit has risen.
    fn new(since: Mono, risen: f64) -> Self {
        let (seconds, refused_pages) = (Vec::new(), HashSet::new());
        Self {
            since,
            ignored: risen.max(0.0) as usize,
            seconds,
            bound: 0,
            refused: 0,
            refused_pages,
        }
    }

    /// The time that a quarter of the requests stayed below.
    fn quick(&mut self) -> f64 {
        let at = self.seconds.len() / 4;
        *self.seconds.select_nth_unstable_by(at, f64::total_cmp).1
    }

    fn is_refused(&self) -> bool {
        self.refused as f64 > REFUSED_SHARE * self.seconds.len() as f64
            && self.refused_pages.len() >= REFUSED_PAGES
    }
}

impl LimitSearch {
    pub(crate) fn new(range: LimitRange, max: f64) -> Self {
        let min = (range.min as f64).clamp(1.0, max);
        let limit = (range.start as f64).clamp(min, max);
        Self {
            limit,
            min,
            max,
            window: Window::new(Mono(0), limit),
            step: None,
            next: Direction::Up,
            failed: 0,
            rest: 0,
            has_failed: false,
        }
    }

    pub(crate) fn limit(&self) -> f64 {
        self.limit
    }

    /// Learns from a request that has ended at `now`. `waiting`: whether others wait for places.
    pub(crate) fn learn(&mut self, now: Mono, exchange: Exchange, waiting: bool) {
        let Exchange { began, took, page, refused } = exchange;
        if began < self.window.since {
            // It was sent under the limit before.
            return;
        }
        let window = &mut self.window;
        if window.ignored > 0 {
            window.ignored -= 1;
            return;
        }
        window.seconds.push(took.as_secs_f64().max(1e-6));
        window.bound += usize::from(waiting);
        if refused {
            window.refused += 1;
            if window.refused_pages.len() < REFUSED_PAGES {
                window.refused_pages.insert(page);
            }
        }
        if window.seconds.len() >= MIN_SAMPLES.max(self.limit as usize / 2) {
            let before = self.limit;
            self.decide();
            self.window = Window::new(now, self.limit - before);
        }
    }

    fn decide(&mut self) {
        let is_bound = 2 * self.window.bound > self.window.seconds.len();
        let quick = self.window.quick();
        if self.window.is_refused() {
            (self.step, self.next, self.has_failed) = (None, Direction::Down, true);
            self.limit = (self.limit / STEP).max(self.min);
            return;
        }
        if let Some(step) = self.step.take() {
            self.judge(step, quick);
        }
        if !is_bound {
            return;
        }
        if self.rest > 0 {
            self.rest -= 1;
            return;
        }
        self.take_step(quick);
    }

    /// Keeps a step that has had its effect, or takes it back.
    fn judge(&mut self, step: Step, quick: f64) {
        let moved = self.limit / step.from;
        // 0: the time is unchanged; 1: it changed as much as the limit.
        let effect = (quick / step.before).ln() / moved.ln();
        let is_good = match step.direction {
            Direction::Up => effect < SENSITIVITY,
            Direction::Down => effect >= SENSITIVITY,
        };
        if is_good {
            (self.failed, self.next) = (0, step.direction);
            return;
        }
        self.has_failed = true;
        self.failed += 1;
        self.limit = step.from;
        self.next = step.direction.opposite();
        if self.failed >= 2 {
            (self.failed, self.rest) = (0, REST);
        }
    }

    fn take_step(&mut self, quick: f64) {
        if self.target(self.next) == self.limit {
            self.next = self.next.opposite();
        }
        let limit = self.target(self.next);
        if limit != self.limit {
            self.step = Some(Step { direction: self.next, from: self.limit, before: quick });
            self.limit = limit;
        }
    }

    fn target(&self, direction: Direction) -> f64 {
        let step = if self.has_failed { STEP } else { FIRST_STEP };
        match direction {
            Direction::Up => (self.limit * step).min(self.max),
            Direction::Down => (self.limit / step).max(self.min),
        }
    }
}

#[cfg(test)]
#[path = "limit_search_tests.rs"]
mod tests;
