//! A model of gift cards ([`sale::rules`]): checkouts that reserve parts of one balance, while payments are declined, given up,
//! ordered, cancelled and refunded, and a frozen node acts on an old copy. The provider's calls are those of
//! [`checkout_payments`](super::checkout_payments).

use sale::rules::{
    CheckoutInput, CheckoutState, GiftBalance, Phase, Rule, gift_moves, may_record, step_checkout,
    without,
};
use stateright::{Model, Property};

/// The invariant: no more is reserved and spent than was issued.
pub const WITHIN_BALANCE: &str = "no more is reserved and spent than was issued";
/// The invariant: balance and checkouts agree.
pub const ADDS_UP: &str = "reserved and spent amounts are the parts of checkouts and orders";
/// The invariant: a cancelled order costs its customer nothing.
pub const GIVEN_BACK: &str = "a cancelled order has given its part back";
/// The check that the model is not vacuous.
pub const SPLIT: &str = "an order is paid by card and gift card";
/// The check that the last unit of the balance is spent.
pub const USED_UP: &str = "two orders use the balance up";

const ISSUED: i64 = 3;

/// A scene: the parts of the price that the provider and the gift card pay, for each checkout.
#[derive(Clone, Debug)]
pub struct GiftScene {
    /// The checkouts.
    pub parts: Vec<(i64, i64)>,
    /// The omitted rule.
    pub omitted: Option<Rule>,
}

/// The copy of a checkout that a frozen node has.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
struct Copied {
    at: usize,
    state: CheckoutState,
    is_current: bool,
}

/// The state of the model.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct World {
    balance: GiftBalance,
    checkouts: Vec<Option<CheckoutState>>,
    copied: Option<Copied>,
    changes: u8,
}

/// One step.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// A checkout begins.
    Begin(usize),
    /// A node reads a checkout and freezes.
    Freeze(usize),
    /// A node gives an input to a checkout, and records the transition with its moves.
    Take(usize, CheckoutInput),
    /// The frozen node gives an input to its copy, and records the transition with its moves.
    TakeCopied(CheckoutInput),
}

impl World {
    fn begin(&mut self, at: usize, (by_provider, gift): (i64, i64)) {
        if let Ok(balance) = self.balance.reserve(gift) {
            self.balance = balance;
            self.checkouts[at] = Some(CheckoutState::with_gift(by_provider, gift, false));
        }
    }

    fn take(&mut self, Copied { at, state, is_current }: Copied, input: CheckoutInput) {
        let (read, recorded) = (i64::from(is_current), 1);
        let Ok((next, _)) = step_checkout(state, input) else { return };
        if !may_record(read, recorded) {
            return;
        }
        if matches!(input, CheckoutInput::Cancel | CheckoutInput::Refund(_)) {
            self.changes += 1;
        }
        self.checkouts[at] = Some(next);
        self.copied = self
            .copied
            .map(|copied| Copied { is_current: copied.is_current && copied.at != at, ..copied });
        for gift_move in gift_moves(&state, &next) {
            self.balance = self.balance.moved(gift_move);
        }
    }

    fn advance(&mut self, step: Step, parts: &[(i64, i64)]) {
        let current = |at: usize, state| Copied { at, state, is_current: true };
        match step {
            Step::Begin(at) => self.begin(at, parts[at]),
            Step::Freeze(at) => self.copied = self.checkouts[at].map(|state| current(at, state)),
            Step::Take(at, input) => {
                if let Some(state) = self.checkouts[at] {
                    self.take(current(at, state), input);
                }
            }
            Step::TakeCopied(input) => {
                if let Some(copied) = self.copied {
                    self.take(copied, input);
                }
            }
        }
    }

    fn states(&self) -> impl Iterator<Item = &CheckoutState> {
        self.checkouts.iter().flatten()
    }
}

impl Model for GiftScene {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        let balance = GiftBalance { issued: ISSUED, ..GiftBalance::default() };
        let checkouts = vec![None; self.parts.len()];
        vec![World { balance, checkouts, copied: None, changes: 0 }]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        let mut inputs = vec![
            CheckoutInput::Done,
            CheckoutInput::Ordered,
            CheckoutInput::HoldEnded,
            CheckoutInput::GiveUp,
        ];
        if world.changes < 2 {
            inputs.push(CheckoutInput::Cancel);
            inputs.extend([1, 2].map(CheckoutInput::Refund));
        }
        // Voids and refunds that are declined are repeated without end, and move nothing.
        let declined = CheckoutInput::Declined { retryable: false };
        let ends = |phase| !matches!(phase, Phase::Voiding | Phase::Refunding);
        for (at, checkout) in world.checkouts.iter().enumerate() {
            let Some(state) = checkout else {
                steps.push(Step::Begin(at));
                continue;
            };
            steps.push(Step::Freeze(at));
            steps.extend(inputs.iter().map(|input| Step::Take(at, *input)));
            steps.extend(ends(state.phase).then_some(Step::Take(at, declined)));
        }
        if let Some(copied) = world.copied {
            steps.extend(inputs.iter().map(|input| Step::TakeCopied(*input)));
            steps.extend(ends(copied.state.phase).then_some(Step::TakeCopied(declined)));
        }
    }

    fn next_state(&self, world: &World, step: Step) -> Option<World> {
        let mut next = world.clone();
        without(self.omitted, || next.advance(step, &self.parts));
        (next != *world).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(WITHIN_BALANCE, |_, World { balance, .. }: &World| {
                balance.available() >= 0 && balance.reserved >= 0 && balance.spent >= 0
            }),
            Property::always(ADDS_UP, |_, world: &World| {
                let reserved = |state: &&CheckoutState| !state.ordered && !state.phase.is_end();
                let reserved: i64 = world.states().filter(reserved).map(|state| state.gift).sum();
                let orders = world.states().filter(|state| state.ordered);
                let spent: i64 = orders.map(|state| state.gift - state.gift_returned).sum();
                (world.balance.reserved, world.balance.spent) == (reserved, spent)
            }),
            Property::always(GIVEN_BACK, |_, world: &World| {
                let mut orders = world.states().filter(|state| state.ordered);
                orders.all(|state| {
                    state.phase != Phase::Cancelled || state.gift_returned == state.gift
                })
            }),
            Property::sometimes(SPLIT, |_, world: &World| {
                world.states().any(|state| {
                    state.phase == Phase::Captured && state.captured > 0 && state.gift > 0
                })
            }),
            Property::sometimes(USED_UP, |_, world: &World| {
                world.balance.spent == ISSUED
                    && world.states().filter(|state| state.phase == Phase::Captured).count() > 1
            }),
        ]
    }
}
