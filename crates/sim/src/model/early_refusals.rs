//! A model of the sale's fast counter ([`sale::rules::EarlyRefusal`]): one unit, one node that learns from the
//! ledger's refusals, and another node that the first one does not hear of.

use std::time::Duration;

use coherence::Mono;
use sale::Lane;
use sale::rules::{Asking, Cell, Demand, EarlyRefusal, Rule, Shortage, without};
use stateright::{Model, Property};

/// The invariant: other nodes' returns count after the bound.
pub const BOUNDED: &str = "no refusal when the unit has been available for the bound";
/// The invariant: this node's returns count at once.
pub const EXACT: &str = "no refusal after this node gave the unit back";
/// The check that the model is not vacuous.
pub const REFUSED: &str = "a request is refused early while nothing is available";

/// In steps of the clock.
const BOUND: u64 = 2;
const SKU: &str = "A";

/// A scene: the limits of a run.
#[derive(Clone, Debug)]
pub struct RefusalScene {
    /// How often the ledger is asked.
    pub asks: u8,
    /// How often a unit comes back.
    pub returns: u8,
    /// The last time of the clock.
    pub until: u64,
    /// The omitted rule.
    pub omitted: Option<Rule>,
}

/// The state of the model.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct World {
    now: u64,
    /// Since when the unit is available.
    available_since: Option<u64>,
    counter: EarlyRefusal,
    /// The call under way, and the units that the ledger had when it decided.
    call: Option<(Asking, Option<i64>)>,
    asks: u8,
    returns: u8,
    /// This node's return is committed and not yet answered.
    returning: bool,
    /// This node has answered that the unit is back, and it was not taken since.
    answered: bool,
}

/// One step.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// The node calls the ledger for a request.
    Ask,
    /// The ledger decides.
    Decide,
    /// The node gets the ledger's answer.
    Learn,
    /// Any node grants a hold of the unit.
    Take,
    /// The other node commits that the unit is back.
    OtherReturns,
    /// This node commits that the unit is back.
    Return,
    /// This node has the answer to that, and then answers its client.
    Returned,
    /// Time passes.
    Tick,
}

fn lines() -> [Demand; 1] {
    [Demand { cell: Cell { sku: SKU.to_owned(), location: "main".to_owned() }, quantity: 1 }]
}

impl World {
    fn new() -> Self {
        Self {
            now: 0,
            available_since: None,
            counter: EarlyRefusal::new(Duration::from_nanos(BOUND)),
            call: None,
            asks: 0,
            returns: 0,
            returning: false,
            answered: false,
        }
    }

    /// Whether a request that arrives now is refused early.
    fn refuses(&self) -> bool {
        !self.counter.shortages(&lines(), Mono(self.now)).is_empty()
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Ask => {
                self.asks += 1;
                self.call = Some((self.counter.ask(Mono(self.now)), None));
            }
            Step::Decide => {
                if let Some((_, seen)) = &mut self.call {
                    *seen = Some(i64::from(self.available_since.is_some()));
                }
            }
            Step::Learn => self.learn(),
            Step::Take => (self.available_since, self.answered) = (None, false),
            Step::OtherReturns => self.bring_back(),
            Step::Return => {
                self.bring_back();
                self.returning = true;
            }
            Step::Returned => {
                self.counter.freed(Lane::of_sku(SKU));
                self.returning = false;
                self.answered = self.available_since.is_some();
            }
            Step::Tick => self.now += 1,
        }
    }

    fn bring_back(&mut self) {
        self.returns += 1;
        self.available_since = Some(self.now);
    }

    fn learn(&mut self) {
        let Some((asking, Some(0))) = self.call.take() else { return };
        let [demand] = lines();
        self.counter.learn(&asking, &[Shortage { demand, available: 0 }], Mono(self.now));
    }
}

impl Model for RefusalScene {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        vec![World::new()]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        match &world.call {
            None if world.asks < self.asks => steps.push(Step::Ask),
            None => {}
            Some((_, None)) => steps.push(Step::Decide),
            Some((_, Some(_))) => steps.push(Step::Learn),
        }
        if world.available_since.is_some() {
            steps.push(Step::Take);
        } else if world.returns < self.returns {
            steps.push(Step::OtherReturns);
            if !world.returning {
                steps.push(Step::Return);
            }
        }
        if world.returning {
            steps.push(Step::Returned);
        }
        if world.now < self.until {
            steps.push(Step::Tick);
        }
    }

    fn next_state(&self, world: &World, step: Step) -> Option<World> {
        let mut next = world.clone();
        without(self.omitted, || next.take(step));
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(BOUNDED, |scene: &Self, world: &World| {
                let refuses = without(scene.omitted, || world.refuses());
                let is_old = |since| world.now - since >= BOUND;
                !(refuses && world.available_since.is_some_and(is_old))
            }),
            Property::always(EXACT, |scene: &Self, world: &World| {
                !(world.answered && without(scene.omitted, || world.refuses()))
            }),
            Property::sometimes(REFUSED, |_, world: &World| {
                world.available_since.is_none() && world.refuses()
            }),
        ]
    }
}
