//! A model of loads from a service that may lag ([`coherence::Trail`]), small enough to visit every
//! order of steps: a row, a log whose commits are told before or after they become visible, a tier,
//! and a service that answers from a copy of the row which is never older than it may be.
//!
//! Time passes in ticks, since a lag is a time.

use std::time::Duration;

use coherence::{
    Batch, Cause, Epoch, Event, Fence, Lsn, Mono, Offer, Rule, Subject, Trail, Verdict, rules,
};
use stateright::{Model, Property};

use crate::names::key;

/// The fence's promise, for what a service answered.
pub const MISSES_NOTHING: &str =
    "what stands in the tier misses no commit that the tier has applied";
/// Something is kept at all.
pub const USEFUL: &str = "what was loaded after a commit stands in the tier";

const TICK: Duration = Duration::from_millis(10);
const EPOCH: Epoch = Epoch { system: 1, timeline: 1, server: 1, incarnation: 1 };

/// What may happen.
#[derive(Clone, Debug)]
pub struct Service {
    /// How many commits change the row.
    pub commits: u64,
    /// How often the row may be loaded.
    pub loads: u8,
    /// How many ticks pass.
    pub ticks: u64,
    /// How many ticks the service's copy may be old.
    pub lag: u64,
    /// The rule that is left out.
    pub without: Option<Rule>,
}

/// One state of it. A row's value is how many commits are in it.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct World {
    now: u64,
    written: u64,
    /// So many of them new snapshots show.
    shown: u64,
    /// The service's copy, and when it was made.
    copy: (u64, u64),
    /// When the load that is under way began, and what it has read.
    load: Option<(u64, Option<u64>)>,
    loads: u8,
    fence: Fence,
    trail: Trail,
    stored: Option<(u64, Lsn)>,
}

/// One step.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// A commit is written to the log.
    Write,
    /// The next commit becomes visible.
    Show,
    /// Its event reaches the tier.
    Tell,
    /// The watermark reaches the tier.
    Hear,
    /// Time passes.
    Tick,
    /// The service reads the row.
    Copy,
    /// A load begins: the request is sent.
    Begin,
    /// The service answers it.
    Answer,
    /// The answer is offered to the tier.
    End,
}

impl World {
    fn time(&self) -> Mono {
        // Not at zero, so that there is a time before.
        Mono(1_000_000_000) + TICK * u32::try_from(self.now).expect("a few ticks")
    }

    fn apply(&mut self, events: Vec<Event>, watermark: Lsn) {
        let prev = self.fence.applied();
        let upto = events.last().map_or(prev, |event| event.lsn);
        let batch = Batch { epoch: EPOCH, prev, upto, watermark, events };
        self.fence.apply(&batch).expect("nothing is lost here");
        let tags = &[];
        self.stored = self.stored.filter(|(_, tau)| self.fence.stands(key(0), tags, *tau));
        // As the product: read when the batch is there.
        self.trail.note(EPOCH, self.fence.watermark(), self.time());
    }

    fn take(&mut self, step: Step, scene: &Service) {
        match step {
            Step::Write => self.written += 1,
            Step::Show => self.shown += 1,
            Step::Tell => {
                let event = Event {
                    lsn: Lsn(self.fence.applied().0 + 1),
                    cause: Cause::Commit,
                    committed_us: 0,
                    subjects: vec![Subject::Key(key(0).clone())],
                    renewals: Vec::new(),
                };
                self.apply(vec![event], self.fence.watermark());
            }
            Step::Hear => self.apply(Vec::new(), self.visible()),
            Step::Tick => self.now += 1,
            Step::Copy => self.copy = (self.shown, self.now),
            Step::Begin => {
                self.loads -= 1;
                self.load = Some((self.now, None));
            }
            Step::Answer => {
                if let Some((_, read)) = &mut self.load {
                    *read = Some(self.copy.0);
                }
            }
            Step::End => {
                let Some((began, Some(read))) = self.load.take() else { return };
                let began = World { now: began, ..self.clone() }.time();
                let lag = TICK * u32::try_from(scene.lag).expect("a few ticks");
                let as_of = began.before(lag).expect("there is a time before");
                let Some((epoch, tau)) = self.trail.token(as_of) else { return };
                let stored = self.stored.map(|(_, tau)| tau);
                let offer = Offer { key: key(0), tags: &[], tau, epoch, stored };
                if self.fence.admit(offer) == Verdict::Accept {
                    self.stored = Some((read, tau));
                }
            }
        }
    }

    /// Up to where everything is visible, as far as the tier has been told.
    fn visible(&self) -> Lsn {
        Lsn(self.shown).min(self.fence.applied())
    }
}

impl Model for Service {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        let mut world = World {
            now: 0,
            written: 0,
            shown: 0,
            copy: (0, 0),
            load: None,
            loads: self.loads,
            fence: Fence::default(),
            trail: Trail::default(),
            stored: None,
        };
        world.fence.incarnate(EPOCH, Lsn::ZERO, Lsn::ZERO);
        world.trail.note(EPOCH, Lsn::ZERO, Mono(0));
        vec![world]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        let mut when = |possible: bool, step: Step| {
            if possible {
                steps.push(step);
            }
        };
        when(world.written < self.commits, Step::Write);
        when(world.shown < world.written, Step::Show);
        when(world.fence.applied().0 < world.written, Step::Tell);
        when(world.fence.watermark() < world.visible(), Step::Hear);
        // No copy is older than it may be.
        let held = world.now - world.copy.1 >= self.lag;
        when(world.now < self.ticks && !held, Step::Tick);
        when(world.copy != (world.shown, world.now), Step::Copy);
        match world.load {
            None => when(world.loads > 0, Step::Begin),
            Some((_, None)) => when(true, Step::Answer),
            Some((_, Some(_))) => when(true, Step::End),
        }
    }

    fn next_state(&self, world: &World, step: Step) -> Option<World> {
        let mut next = world.clone();
        rules::without(self.without, || next.take(step, self));
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(MISSES_NOTHING, |_: &Self, world: &World| {
                world.stored.is_none_or(|(value, _)| value >= world.fence.applied().0)
            }),
            Property::sometimes(USEFUL, |_: &Self, world: &World| {
                world.stored.is_some_and(|(value, _)| value > 0)
            }),
        ]
    }
}
