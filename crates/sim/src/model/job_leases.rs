//! A model of a job ([`sale::rules::step_job`]), small enough to explore every sequence of steps: workers that are slow, die or
//! report late; nodes that recover leases at any time or never; an operator who pauses, resumes and replays; and the
//! database's clock. Every step is one transaction, as in both ledgers.

use sale::rules::{
    AttemptEnd, AttemptOutcome, JobEffect, JobEnd, JobInput, JobPhase, JobState, Rule, step_job,
    without,
};
use stateright::{Model, Property};

/// The invariant: a worker has a job alone.
pub const EXCLUSIVE: &str = "at most one worker has a lease that is not over";
/// The invariant: a worker acts on its own attempt only.
pub const FENCED: &str = "no worker ends or extends the attempt of another";
/// The invariant: a worker that is in time keeps its job.
pub const KEPT: &str = "no lease is taken away before its end";
/// The invariant: a lease that is over stays over.
pub const STAYS_LOST: &str = "no lease is extended after its end";
/// The invariant: a job that never succeeds stops.
pub const BOUNDED: &str = "a job has at most its attempts for each replay";
/// The invariant: no attempt starts too early.
pub const WHEN_DUE: &str = "no attempt starts before it is due";
/// The invariant: no attempt starts too late.
pub const IN_TIME: &str = "no attempt starts after the time to live";
/// The invariant: a pause holds.
pub const PAUSED: &str = "no attempt starts while the kind is paused";
/// The check that the model is not vacuous: a job is done after a lost lease.
pub const RECOVERED: &str = "a job is done after a lost lease";

const ATTEMPTS: u32 = 2;
const LEASE: i64 = 2;
const DELAY: i64 = 1;
const EXPIRES: i64 = 5;
const WORKERS: usize = 2;

/// A scene: the limits of a run.
#[derive(Clone, Debug)]
pub struct JobScene {
    /// The last time of the clock.
    pub until: i64,
    /// How often the operator replays.
    pub replays: u8,
    /// The omitted rule.
    pub omitted: Option<Rule>,
}

/// The knowledge of a worker: its attempt, and the end of its lease.
type KnownLease = Option<(u32, i64)>;

/// The state of the model.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct World {
    now: i64,
    job: JobState,
    workers: [KnownLease; WORKERS],
    paused: bool,
    replays: u8,
    /// Attempts since the last replay that were started and not given back.
    started: u8,
    was_lost: bool,
    broken: Option<&'static str>,
}

/// One step.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// A worker asks for the job.
    Lease(usize),
    /// A worker asks for more time.
    Extend(usize),
    /// A worker reports, in time or late.
    Report(usize, AttemptOutcome),
    /// A worker dies: its report never comes.
    Die(usize),
    /// A node recovers the job if its lease is over.
    Recover,
    /// An operator pauses or resumes the kind.
    Switch,
    /// An operator replays the dead job.
    Replay,
    /// Time passes.
    Tick,
}

const OUTCOMES: [AttemptOutcome; 4] = [
    AttemptOutcome::Done,
    AttemptOutcome::Failed { delay_ms: DELAY },
    AttemptOutcome::Hopeless,
    AttemptOutcome::Released,
];

impl World {
    fn new() -> Self {
        Self {
            now: 0,
            job: JobState {
                attempt: 1,
                attempts_left: ATTEMPTS,
                expires_ms: Some(EXPIRES),
                phase: JobPhase::Waiting { due_ms: 1 },
            },
            workers: [None; WORKERS],
            paused: false,
            replays: 0,
            started: 0,
            was_lost: false,
            broken: None,
        }
    }

    fn step(&mut self, input: JobInput) -> Option<JobEffect> {
        let (next, effect) = step_job(self.job, input, self.now).ok()?;
        self.job = next;
        Some(effect)
    }

    fn lease(&mut self, worker: usize) {
        let before = self.job;
        let input = JobInput::Lease { lease_ms: LEASE, paused: self.paused };
        let Some(JobEffect::Run) = self.step(input) else { return };
        let is_alive = |held: &KnownLease| held.is_some_and(|(_, until)| self.now < until);
        if self.workers.iter().enumerate().any(|(at, held)| at != worker && is_alive(held)) {
            self.broken = Some(EXCLUSIVE);
        }
        if matches!(before.phase, JobPhase::Waiting { due_ms } if self.now < due_ms) {
            self.broken = Some(WHEN_DUE);
        }
        if self.now >= EXPIRES {
            self.broken = Some(IN_TIME);
        }
        if self.paused {
            self.broken = Some(PAUSED);
        }
        self.workers[worker] = Some((self.job.attempt, self.now + LEASE));
        self.started += 1;
        if u32::from(self.started) > ATTEMPTS {
            self.broken = Some(BOUNDED);
        }
    }

    fn extend(&mut self, worker: usize) {
        let Some((attempt, until)) = self.workers[worker] else { return };
        let Some(JobEffect::Extend) = self.step(JobInput::Extend { attempt, lease_ms: LEASE })
        else {
            return;
        };
        if attempt != self.job.attempt {
            self.broken = Some(FENCED);
        } else if self.now >= until {
            self.broken = Some(STAYS_LOST);
        }
        self.workers[worker] = Some((attempt, self.now + LEASE));
    }

    fn report(&mut self, worker: usize, outcome: AttemptOutcome) {
        let Some((attempt, _)) = self.workers[worker].take() else { return };
        let current = self.job.attempt;
        let Some(JobEffect::End(end)) = self.step(JobInput::Report { attempt, outcome }) else {
            return;
        };
        if attempt != current {
            self.broken = Some(FENCED);
        }
        if end == AttemptEnd::Released {
            self.started -= 1;
        }
    }

    fn recover(&mut self) {
        let JobPhase::Leased { until_ms } = self.job.phase else { return };
        if self.step(JobInput::Recover).is_some() {
            self.was_lost = true;
            if self.now < until_ms {
                self.broken = Some(KEPT);
            }
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Lease(worker) => self.lease(worker),
            Step::Extend(worker) => self.extend(worker),
            Step::Report(worker, outcome) => self.report(worker, outcome),
            Step::Die(worker) => self.workers[worker] = None,
            Step::Recover => self.recover(),
            Step::Switch => self.paused = !self.paused,
            Step::Replay => {
                if self.step(JobInput::Replay { attempts: ATTEMPTS }).is_some() {
                    self.replays += 1;
                    self.started = 0;
                }
            }
            Step::Tick => self.now += 1,
        }
    }
}

impl Model for JobScene {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        vec![World::new()]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        for worker in 0..WORKERS {
            match world.workers[worker] {
                None => steps.push(Step::Lease(worker)),
                Some(_) => {
                    steps.extend([Step::Extend(worker), Step::Die(worker)]);
                    steps.extend(OUTCOMES.map(|outcome| Step::Report(worker, outcome)));
                }
            }
        }
        steps.extend([Step::Recover, Step::Switch]);
        if world.replays < self.replays {
            steps.push(Step::Replay);
        }
        if world.now < self.until {
            steps.push(Step::Tick);
        }
    }

    fn next_state(&self, world: &World, step: Step) -> Option<World> {
        let mut next = world.clone();
        without(self.omitted, || next.take(step));
        (next != *world).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![Property::sometimes(RECOVERED, |_, world: &World| {
            world.was_lost && world.job.phase == JobPhase::Ended(JobEnd::Done)
        })];
        macro_rules! never_broken {
            ($($name:ident)*) => {
                $(properties.push(Property::always($name, |_, world: &World| world.broken != Some($name)));)*
            };
        }
        never_broken! { EXCLUSIVE FENCED KEPT STAYS_LOST BOUNDED WHEN_DUE IN_TIME PAUSED }
        properties
    }

    fn within_boundary(&self, world: &World) -> bool {
        world.job.attempt <= 6
    }
}
