//! A model of a value that changes by the clock ([`coherence::database_clock`]), small enough to explore every sequence of
//! steps: a database whose clock shows another time than the nodes', a node that loads the value and offers it to a tier
//! at any later time, and a second node that reads the database's clock and then the tier.
//!
//! Time passes in ticks of a millisecond. Any number of them may pass between two steps, such as a question and its answer.

use std::time::Duration;

use coherence::{ClockReading, ClockTime, DatabaseClock, Log, Mono, Rule, Turn, rules};
use stateright::{Model, Property};

/// The invariant.
pub const NO_LATE_ANSWER: &str =
    "no answer is fresh whose value has changed by the database's clock";
/// The checks that the model is not vacuous.
pub const LOCAL: &str = "the node that has loaded the value answers from its own copy";
/// See [`LOCAL`].
pub const SHARED: &str = "the other node answers from the tier";

const TICK: Duration = Duration::from_millis(1);
const LOG: Log = Log { system: 1, timeline: 1, server: 1 };
/// The time by the database's clock, in ms, when the model begins; the nodes' monotonic clocks show a second.
const BEGIN_MS: u64 = 1_800_000_000_000;

/// A part of the protocol that can be omitted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Omitted {
    /// A rule of the product.
    Rule(Rule),
    /// The next change is read before the value.
    ChangesBeforeValue,
    /// A reader checks the change itself, and does not rely on the time for which the tier keeps the entry.
    ReaderChecks,
}

/// A scene: the limits of a run.
#[derive(Clone, Debug)]
pub struct TimedScene {
    /// The number of ticks that pass.
    pub ticks: u64,
    /// The tick at which the database's clock reaches the change.
    pub change: u64,
    /// The omitted part.
    pub omitted: Option<Omitted>,
}

/// The progress of a load.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Load {
    began: u64,
    /// The next change after the tick at which it was read, and that tick.
    next: Option<(Option<u64>, u64)>,
    /// Whether the value is the new one.
    value: Option<bool>,
}

/// An entry with the value.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Stored {
    is_new: bool,
    changes_at: Option<ClockTime>,
    /// The end of its life by the tier that has it; `None`: it has not arrived there, and is kept for this time then.
    ends: Result<Mono, Duration>,
}

/// The state of the model.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct World {
    now: u64,
    load: Option<Load>,
    local: Option<Stored>,
    shared: Option<Stored>,
    /// The question of the other node about the clock, and the tick that was shown.
    question: Option<(u64, Option<u64>)>,
    clock: DatabaseClock,
    has_asked: bool,
    /// Whether the last answer was fresh, from where, and whether it was right.
    answer: Option<(Tier, bool)>,
}

/// The tier of an answer.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Tier {
    /// The copy of the node that has loaded it.
    Local,
    /// The tier of all nodes.
    Shared,
}

/// One step.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// Time passes.
    Tick,
    /// A load begins.
    Begin,
    /// The database finds the next change.
    ReadChange,
    /// It computes the value.
    ReadValue,
    /// The load ends; its entry is on the way to the tier.
    End,
    /// The entry arrives in the tier.
    Arrive,
    /// The other node asks for the time.
    AskClock,
    /// The database shows it.
    ShowClock,
    /// The answer arrives.
    ReceiveClock,
    /// The value is read from a tier.
    Read(Tier),
}

fn mono(tick: u64) -> Mono {
    Mono(1_000_000_000) + TICK * u32::try_from(tick).expect("a few ticks")
}

fn shown(tick: u64) -> ClockTime {
    ClockTime::from_micros((BEGIN_MS + tick) * 1_000).expect("after 1970")
}

impl World {
    fn take(&mut self, step: Step, scene: &TimedScene) {
        self.answer = None;
        match step {
            Step::Tick => self.now += 1,
            Step::Begin => self.load = Some(Load { began: self.now, ..Load::default() }),
            Step::ReadChange => {
                let next = (self.now < scene.change).then_some(scene.change);
                let now = self.now;
                self.load.iter_mut().for_each(|load| load.next = Some((next, now)));
            }
            Step::ReadValue => {
                let is_new = self.now >= scene.change;
                self.load.iter_mut().for_each(|load| load.value = Some(is_new));
            }
            Step::End => self.end(),
            Step::Arrive => {
                let now = mono(self.now);
                let arrive = |entry: &mut Stored| {
                    if let Err(kept_for) = entry.ends {
                        entry.ends = Ok(now + kept_for);
                    }
                };
                self.shared.iter_mut().for_each(arrive);
            }
            Step::AskClock => (self.question, self.has_asked) = (Some((self.now, None)), true),
            Step::ShowClock => {
                let now = self.now;
                self.question.iter_mut().for_each(|(_, shown)| *shown = Some(now));
            }
            Step::ReceiveClock => {
                let Some((asked, Some(tick))) = self.question.take() else { return };
                let reading = ClockReading {
                    asked: mono(asked),
                    answered: mono(self.now),
                    shown: shown(tick),
                };
                self.clock.record(LOG, reading);
            }
            Step::Read(tier) => {
                let is_new = self.fresh(tier, scene);
                let changed = self.now >= scene.change;
                self.answer = is_new.map(|is_new| (tier, is_new || !changed));
            }
        }
    }

    /// Ends the load, as the product's `fill` does.
    fn end(&mut self) {
        let Some(Load { began, next: Some((next, tick)), value: Some(is_new) }) = self.load.take()
        else {
            return;
        };
        let now = mono(self.now);
        let long = Duration::from_secs(60);
        let reading = ClockReading { asked: mono(began), answered: now, shown: shown(tick) };
        let turn = next.map(|next| reading.turn(shown(next)));
        let left = turn.map_or(long, |turn| turn.earliest.since(now));
        let is_ahead = turn.is_none_or(|turn| turn.is_ahead(now));
        if !is_ahead {
            return;
        }
        let entry = Stored { is_new, changes_at: next.map(shown), ends: Err(left) };
        // The end of the copy is the turn itself.
        self.local =
            Some(Stored { ends: Ok(turn.map_or(now + long, |turn| turn.earliest)), ..entry });
        self.shared = Some(entry);
    }

    /// Returns whether the value of a tier is the new one, if it may be answered as fresh.
    fn fresh(&self, tier: Tier, scene: &TimedScene) -> Option<bool> {
        let now = mono(self.now);
        let (entry, turn) = match tier {
            Tier::Local => {
                let entry = self.local?;
                let turn = entry.changes_at.and_then(|_| entry.ends.ok());
                (entry, turn.map(|end| Turn { earliest: end, latest: end }))
            }
            Tier::Shared => {
                let entry = self.shared.filter(|entry| entry.ends.is_ok_and(|end| now < end))?;
                let checks = scene.omitted != Some(Omitted::ReaderChecks);
                match entry.changes_at.filter(|_| checks) {
                    // Without a reading of the clock the node loads.
                    Some(at) => (entry, Some(self.clock.turn(at)?)),
                    None => (entry, None),
                }
            }
        };
        turn.is_none_or(|turn| turn.is_ahead(now)).then_some(entry.is_new)
    }
}

impl Model for TimedScene {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        vec![World {
            now: 0,
            load: None,
            local: None,
            shared: None,
            question: None,
            clock: DatabaseClock::default(),
            has_asked: false,
            answer: None,
        }]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        let mut when = |possible: bool, step: Step| {
            if possible {
                steps.push(step);
            }
        };
        when(world.now < self.ticks, Step::Tick);
        let value_first = self.omitted == Some(Omitted::ChangesBeforeValue);
        match world.load {
            None => when(world.shared.is_none(), Step::Begin),
            Some(Load { next, value, .. }) => {
                when(next.is_none() && (!value_first || value.is_some()), Step::ReadChange);
                when(value.is_none() && (value_first || next.is_some()), Step::ReadValue);
                when(next.is_some() && value.is_some(), Step::End);
            }
        }
        when(world.shared.is_some_and(|entry| entry.ends.is_err()), Step::Arrive);
        when(!world.has_asked, Step::AskClock);
        when(world.question.is_some_and(|(_, shown)| shown.is_none()), Step::ShowClock);
        when(world.question.is_some_and(|(_, shown)| shown.is_some()), Step::ReceiveClock);
        when(world.local.is_some(), Step::Read(Tier::Local));
        when(world.shared.is_some(), Step::Read(Tier::Shared));
    }

    fn next_state(&self, world: &World, step: Step) -> Option<World> {
        let mut next = world.clone();
        let rule = match self.omitted {
            Some(Omitted::Rule(rule)) => Some(rule),
            _ => None,
        };
        rules::without(rule, || next.take(step, self));
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(NO_LATE_ANSWER, |_: &Self, world: &World| {
                world.answer.is_none_or(|(_, is_right)| is_right)
            }),
            Property::sometimes(LOCAL, |_: &Self, world: &World| {
                world.answer == Some((Tier::Local, true))
            }),
            Property::sometimes(SHARED, |_: &Self, world: &World| {
                world.answer == Some((Tier::Shared, true))
            }),
        ]
    }
}
