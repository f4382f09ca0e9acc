//! A model of loads from a service that may lag ([`coherence::WatermarkHistory`]), small enough to explore
//! every sequence of steps: a row, a log whose events arrive before or after their commits become visible,
//! a tier, and a service that answers from a copy of the row that is never older than its lag.
//!
//! Time passes in ticks, because a lag is a time.

use std::time::Duration;

use coherence::{
    Batch, Cause, CoverageDigest, Epoch, Event, Fence, Lsn, Mono, Offer, Rule, Subject, Verdict,
    WatermarkHistory, rules,
};
use stateright::{Model, Property};

use crate::model::keys::key;

/// The invariant: the fence's promise, for answers of a service.
pub const NO_STALE_ENTRY: &str = "no entry in the tier misses a commit that the tier has applied";
/// The check that the model is not vacuous.
pub const USEFUL: &str = "a value that was loaded after a commit stands in the tier";

const TICK: Duration = Duration::from_millis(10);
const EPOCH: Epoch = Epoch { system: 1, timeline: 1, server: 1, incarnation: 1 };

/// A scene: the limits of a run.
#[derive(Clone, Debug)]
pub struct ServiceScene {
    /// The number of commits that change the row.
    pub commits: u64,
    /// How often the row may be loaded.
    pub loads: u8,
    /// The number of ticks that pass.
    pub ticks: u64,
    /// The largest age of the service's copy, in ticks.
    pub lag: u64,
    /// The omitted rule.
    pub omitted: Option<Rule>,
}

/// The state of the model. A row's value is the number of commits in it.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct World {
    now: u64,
    written: u64,
    /// The number of commits that new snapshots show.
    shown: u64,
    /// The service's copy, and the time of its creation.
    copy: (u64, u64),
    /// The start of the load in flight, and the value that it has read.
    load: Option<(u64, Option<u64>)>,
    loads: u8,
    fence: Fence,
    history: WatermarkHistory,
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
    ReceiveEvent,
    /// The watermark reaches the tier.
    ReceiveWatermark,
    /// Time passes.
    Tick,
    /// The service copies the row.
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
        // Not at zero, so that there are earlier times.
        Mono(1_000_000_000) + TICK * u32::try_from(self.now).expect("a few ticks")
    }

    fn apply(&mut self, events: Vec<Event>, watermark: Lsn) {
        let prev = self.fence.applied();
        let upto = events.last().map_or(prev, |event| event.lsn);
        let batch =
            Batch { epoch: EPOCH, prev, upto, watermark, coverage: CoverageDigest::NONE, events };
        self.fence.apply(&batch).expect("no batch is lost in this model");
        let tags = &[];
        self.stored = self.stored.filter(|(_, tau)| self.fence.stands(key(0), tags, *tau));
        // As in the product, the clock is read after the batch has arrived.
        self.history.note(EPOCH, self.fence.watermark(), self.time());
    }

    fn take(&mut self, step: Step, scene: &ServiceScene) {
        match step {
            Step::Write => self.written += 1,
            Step::Show => self.shown += 1,
            Step::ReceiveEvent => {
                let event = Event {
                    lsn: Lsn(self.fence.applied().0 + 1),
                    cause: Cause::Commit,
                    committed_us: 0,
                    subjects: vec![Subject::Key(key(0).clone())],
                    renewals: Vec::new(),
                };
                self.apply(vec![event], self.fence.watermark());
            }
            Step::ReceiveWatermark => self.apply(Vec::new(), self.visible()),
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
                let as_of = began.before(lag).expect("earlier times exist");
                let Some((epoch, tau)) = self.history.token(as_of) else { return };
                let stored = self.stored.map(|(_, tau)| tau);
                let offer = Offer { key: key(0), tags: &[], tau, epoch, stored };
                if self.fence.admit(offer) == Verdict::Accept {
                    self.stored = Some((read, tau));
                }
            }
        }
    }

    /// Returns the position up to which every commit is visible and has reached the tier.
    fn visible(&self) -> Lsn {
        Lsn(self.shown).min(self.fence.applied())
    }
}

impl Model for ServiceScene {
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
            history: WatermarkHistory::default(),
            stored: None,
        };
        world.fence.reset_epoch(EPOCH, Lsn::ZERO, Lsn::ZERO);
        world.history.note(EPOCH, Lsn::ZERO, Mono(0));
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
        when(world.fence.applied().0 < world.written, Step::ReceiveEvent);
        when(world.fence.watermark() < world.visible(), Step::ReceiveWatermark);
        // A copy is never older than the lag.
        let at_limit = world.now - world.copy.1 >= self.lag;
        when(world.now < self.ticks && !at_limit, Step::Tick);
        when(world.copy != (world.shown, world.now), Step::Copy);
        match world.load {
            None => when(world.loads > 0, Step::Begin),
            Some((_, None)) => when(true, Step::Answer),
            Some((_, Some(_))) => when(true, Step::End),
        }
    }

    fn next_state(&self, world: &World, step: Step) -> Option<World> {
        let mut next = world.clone();
        rules::without(self.omitted, || next.take(step, self));
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(NO_STALE_ENTRY, |_: &Self, world: &World| {
                world.stored.is_none_or(|(value, _)| value >= world.fence.applied().0)
            }),
            Property::sometimes(USEFUL, |_: &Self, world: &World| {
                world.stored.is_some_and(|(value, _)| value > 0)
            }),
        ]
    }
}
