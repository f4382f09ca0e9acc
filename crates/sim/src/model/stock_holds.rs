//! A model of the sale's ledger ([`sale::rules`]), small enough to explore every sequence of steps: customers with
//! idempotency keys whose answers may get lost, so that they repeat; holds that are confirmed, cancelled and extended;
//! nodes that record expiries at any time or never; and the database's clock.
//!
//! Every step is one transaction under the locks of its SKUs, as in both ledgers. So a crash of a node between a
//! commit and its answer is a repeat of the step.

use sale::rules::{
    Cell, Demand, Effect, HoldEnd, HoldInput, HoldState, KeyVerdict, Policy, Rule, Shelf, Stock,
    judge_key, step, without,
};
use stateright::{Model, Property};

/// The invariant: no unit is promised twice.
pub const NOT_OVERSOLD: &str = "held and sold units are on hand";
/// The invariant: the counters are those of the holds.
pub const CONSERVED: &str = "counters are the sums of active and confirmed holds";
/// The invariant: a hold ends once.
pub const ONE_END: &str = "a hold has at most one end";
/// The invariant: deadlines are kept in both directions.
pub const BY_THE_DEADLINE: &str =
    "holds are confirmed and extended before their deadline, and expire from it on";
/// The invariant: a customer can't keep stock for ever.
pub const ONE_EXTENSION: &str = "a deadline moves at most once";
/// The invariant: the limit holds for each customer.
pub const WITHIN_LIMIT: &str = "no customer has more units than the limit";
/// The invariant: a repeat has no second effect.
pub const ONE_EFFECT: &str = "a key has at most one hold";
/// The invariant: a key is not taken for that of another request.
pub const ONE_REQUEST: &str = "no answer is for another request";
/// The check that the model is not vacuous.
pub const SOLD_OUT: &str = "everything is sold at some time";

/// The time until a deadline, and the time that an extension adds.
const TTL: i64 = 2;
const LIMIT: i64 = 2;
const ON_HAND: [(&str, i64); 2] = [("A", 3), ("B", 1)];

/// The requests: key, customer, and units of A and B. The last one has the key of the first.
const REQUESTS: [(usize, usize, [i64; 2]); 4] =
    [(0, 0, [1, 1]), (1, 0, [2, 0]), (2, 1, [2, 0]), (0, 0, [1, 0])];

/// A scene: the limits of a run.
#[derive(Clone, Debug)]
pub struct HoldsScene {
    /// How often customers ask, repeats included.
    pub asks: u8,
    /// The last time of the clock.
    pub until: i64,
    /// The omitted rule.
    pub omitted: Option<Rule>,
}

/// A hold in the ledger.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Hold {
    request: usize,
    state: HoldState,
    ends: u8,
    extensions: u8,
}

/// The state of the model.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct World {
    now: i64,
    asks: u8,
    shelf: Shelf,
    holds: Vec<Hold>,
    /// By key: the digest of the request, and its hold.
    stored: [Option<(u64, usize)>; 3],
    /// A step ended or extended a hold on the wrong side of its deadline.
    deadline_broken: bool,
    /// An answer was for another request.
    answer_broken: bool,
}

/// One step.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// A customer asks, or asks again because the answer got lost.
    Ask(usize),
    /// A hold is confirmed.
    Confirm(usize),
    /// A hold is cancelled.
    Cancel(usize),
    /// A node records the expiry of a hold.
    Expire(usize),
    /// A hold is extended.
    Extend(usize),
    /// Time passes.
    Tick,
}

fn cell(at: usize) -> Cell {
    Cell { sku: ON_HAND[at].0.to_owned(), location: "main".to_owned() }
}

fn lines(request: usize) -> Vec<Demand> {
    let quantities = REQUESTS[request].2;
    let demands = (0..2).map(|at| Demand { cell: cell(at), quantity: quantities[at] });
    demands.filter(|demand| demand.quantity > 0).collect()
}

fn customer(request: usize) -> String {
    REQUESTS[request].1.to_string()
}

impl World {
    fn new() -> Self {
        let cells = (0..2).map(|at| {
            let stock = Stock { on_hand: ON_HAND[at].1, ..Stock::default() };
            (cell(at), (stock, Policy::Strict))
        });
        let limits = [(ON_HAND[0].0.to_owned(), LIMIT)];
        let shelf =
            Shelf { cells: cells.collect(), limits: limits.into(), taken: Default::default() };
        Self {
            now: 0,
            asks: 0,
            shelf,
            holds: Vec::new(),
            stored: [None; 3],
            deadline_broken: false,
            answer_broken: false,
        }
    }

    fn ask(&mut self, request: usize) {
        self.asks += 1;
        let (key, digest) = (REQUESTS[request].0, request as u64);
        let stored = self.stored[key];
        match (judge_key(stored.map(|(digest, _)| digest), digest), stored) {
            (KeyVerdict::Reused, _) => {}
            (KeyVerdict::Repeat, Some((_, hold))) => {
                self.answer_broken |= self.holds[hold].request != request;
            }
            _ => {
                if self.shelf.grant(&customer(request), &lines(request)).is_ok() {
                    self.stored[key] = Some((digest, self.holds.len()));
                    let state = HoldState::Active { deadline_ms: self.now + TTL, extended: false };
                    self.holds.push(Hold { request, state, ends: 0, extensions: 0 });
                }
            }
        }
    }

    fn change(&mut self, at: usize, input: HoldInput) {
        let hold = &mut self.holds[at];
        let Ok((next, effect)) = step(hold.state, input, self.now) else { return };
        if let HoldState::Active { deadline_ms, .. } = hold.state {
            let is_due = self.now >= deadline_ms;
            self.deadline_broken |= is_due != (input == HoldInput::Expire);
        }
        hold.state = next;
        match effect {
            Effect::Keep => hold.extensions += 1,
            Effect::Sell | Effect::Free => hold.ends += 1,
        }
        let (request, sold) = (hold.request, i64::from(effect == Effect::Sell));
        if effect == Effect::Keep {
            return;
        }
        for Demand { cell, quantity } in lines(request) {
            if let Some((stock, _)) = self.shelf.cells.get_mut(&cell) {
                stock.held -= quantity;
                stock.sold += quantity * sold;
            }
            let taker = (cell.sku, customer(request));
            if let Some(taken) = self.shelf.taken.get_mut(&taker) {
                *taken -= quantity * (1 - sold);
            }
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Ask(request) => self.ask(request),
            Step::Confirm(hold) => self.change(hold, HoldInput::Confirm),
            Step::Cancel(hold) => self.change(hold, HoldInput::Cancel),
            Step::Expire(hold) => self.change(hold, HoldInput::Expire),
            Step::Extend(hold) => self.change(hold, HoldInput::Extend { by_ms: TTL }),
            Step::Tick => self.now += 1,
        }
    }

    /// Sums the units of a cell over the holds in a state.
    fn units(&self, at: usize, counts: impl Fn(HoldState) -> bool) -> i64 {
        let holds = self.holds.iter().filter(|hold| counts(hold.state));
        holds.map(|hold| REQUESTS[hold.request].2[at]).sum()
    }

    fn is_conserved(&self) -> bool {
        (0..2).all(|at| {
            let (stock, _) = self.shelf.cells[&cell(at)];
            let is_active = |state| matches!(state, HoldState::Active { .. });
            let is_sold = |state| state == HoldState::Ended(HoldEnd::Confirmed);
            stock.held == self.units(at, is_active) && stock.sold == self.units(at, is_sold)
        })
    }

    fn is_within_limit(&self) -> bool {
        (0..2).all(|customer| {
            let counts = |hold: &&Hold| {
                let kept = matches!(
                    hold.state,
                    HoldState::Active { .. } | HoldState::Ended(HoldEnd::Confirmed)
                );
                REQUESTS[hold.request].1 == customer && kept
            };
            let units = self.holds.iter().filter(counts).map(|hold| REQUESTS[hold.request].2[0]);
            units.sum::<i64>() <= LIMIT
        })
    }

    fn has_one_effect_per_key(&self) -> bool {
        (0..3).all(|key| {
            self.holds.iter().filter(|hold| REQUESTS[hold.request].0 == key).count() <= 1
        })
    }
}

impl Model for HoldsScene {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        vec![World::new()]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        if world.asks < self.asks {
            steps.extend((0..REQUESTS.len()).map(Step::Ask));
        }
        for hold in 0..world.holds.len() {
            let all = [Step::Confirm, Step::Cancel, Step::Expire, Step::Extend];
            steps.extend(all.map(|step| step(hold)));
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
        vec![
            Property::always(NOT_OVERSOLD, |_, world: &World| {
                world.shelf.cells.values().all(|(stock, policy)| stock.free(*policy) >= 0)
            }),
            Property::always(CONSERVED, |_, world: &World| world.is_conserved()),
            Property::always(ONE_END, |_, world: &World| {
                world.holds.iter().all(|hold| hold.ends <= 1)
            }),
            Property::always(BY_THE_DEADLINE, |_, world: &World| !world.deadline_broken),
            Property::always(ONE_EXTENSION, |_, world: &World| {
                world.holds.iter().all(|hold| hold.extensions <= 1)
            }),
            Property::always(WITHIN_LIMIT, |_, world: &World| world.is_within_limit()),
            Property::always(ONE_EFFECT, |_, world: &World| world.has_one_effect_per_key()),
            Property::always(ONE_REQUEST, |_, world: &World| !world.answer_broken),
            Property::sometimes(SOLD_OUT, |_, world: &World| {
                let (stock, _) = world.shelf.cells[&cell(1)];
                stock.sold == stock.on_hand
            }),
        ]
    }

    fn within_boundary(&self, world: &World) -> bool {
        world.holds.len() <= 4
    }
}
