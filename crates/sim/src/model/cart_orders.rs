//! A model of carts ([`sale::rules`]): two tabs that read, change, hold and pay one cart, each on an old copy, while holds
//! expire and payments are declined or become orders.
//!
//! Reading, taking a hold, making it the cart's, and beginning a checkout are steps of their own, so that another tab
//! comes between any two of them.

use sale::rules::{
    CartStage, CartState, CartVersion, CartWrite, CheckoutState, HoldEnd, HoldState, Phase, Rule,
    admits_cart_hold, begin_cart, without, write_cart,
};
use stateright::{Model, Property};

/// The invariant: a cart has at most one order.
pub const ONE_ORDER: &str = "a cart has at most one order";
/// The invariant: an order has the lines that its customer was shown, and that the cart has.
pub const AS_SHOWN: &str = "an order has the lines of the cart and of its customer's page";
/// The invariant: no change of another tab is overwritten unseen.
pub const NOTHING_LOST: &str = "no change is overwritten by a tab that has not seen it";
/// The invariant: units of former lines are free.
pub const NOTHING_KEPT: &str = "a cart keeps no units of former lines";
/// The check that the model is not vacuous.
pub const ORDERED: &str = "a changed cart is ordered";

const HOLDS_MAX: usize = 3;
const VERSION_MAX: i64 = 3;

/// A scene: the omitted rule.
#[derive(Clone, Debug)]
pub struct CartScene {
    /// The omitted rule.
    pub omitted: Option<Rule>,
}

/// A hold, and its checkout.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Hold {
    /// The version whose lines it holds.
    version: i64,
    state: HoldState,
    is_linked: bool,
    /// The live checkout, with the version that its customer was shown.
    checkout: Option<(CheckoutState, i64)>,
}

/// The copy that a tab has of the cart.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
struct Seen {
    version: i64,
    hold: Option<usize>,
}

/// The state of the model.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct World {
    version: i64,
    hold: Option<usize>,
    holds: Vec<Hold>,
    tabs: [Option<Seen>; 2],
    is_change_lost: bool,
}

/// One step.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// A tab reads the cart.
    Read(usize),
    /// A tab changes the cart.
    Write(usize),
    /// A tab takes a hold of the lines that it has read.
    Take(usize),
    /// A tab makes its hold the cart's.
    Link(usize),
    /// A tab begins a checkout of its hold.
    Begin(usize),
    /// The payment of a hold succeeds.
    Place(usize),
    /// The payment of a hold is declined.
    Decline(usize),
    /// A hold expires.
    Expire(usize),
}

impl World {
    fn cart(&self) -> CartState {
        let hold = self.hold.map(|at| &self.holds[at]);
        let checkout = hold.and_then(|hold| hold.checkout.as_ref()).map(|(state, _)| state);
        let stage = CartStage::of(hold.map(|hold| hold.state), checkout, 0);
        CartState { version: self.version, is_deleted: false, stage }
    }

    fn is_active(&self, at: usize) -> bool {
        matches!(self.holds[at].state, HoldState::Active { .. })
    }

    fn end(&mut self, at: usize, end: HoldEnd) {
        if self.is_active(at) {
            self.holds[at].state = HoldState::Ended(end);
        }
    }

    fn write(&mut self, seen: Seen) {
        let wanted = CartVersion::Exactly(seen.version);
        let Ok(CartWrite::Version { version, cancels_hold }) =
            write_cart(Some(self.cart()), wanted, false)
        else {
            return;
        };
        self.is_change_lost |= seen.version != self.version;
        self.version = version;
        if let Some(at) = self.hold.filter(|_| cancels_hold) {
            self.end(at, HoldEnd::Cancelled);
        }
    }

    fn take(&mut self, tab: usize, seen: Seen) {
        let state = HoldState::Active { deadline_ms: 1, extended: false };
        let version = seen.version;
        self.holds.push(Hold { version, state, is_linked: false, checkout: None });
        self.tabs[tab] = Some(Seen { hold: Some(self.holds.len() - 1), ..seen });
    }

    fn link(&mut self, seen: Seen) {
        let Some(at) = seen.hold.filter(|at| !self.holds[*at].is_linked) else { return };
        if admits_cart_hold(self.cart(), seen.version) {
            self.holds[at].is_linked = true;
            self.hold = Some(at);
        }
    }

    fn begin(&mut self, seen: Seen) {
        let Some(at) = seen.hold else { return };
        let is_its_hold = self.hold == Some(at);
        let begun = begin_cart(Some(self.cart()), CartVersion::Exactly(seen.version), is_its_hold);
        if begun.is_ok() && self.is_active(at) && self.holds[at].checkout.is_none() {
            self.holds[at].checkout = Some((CheckoutState::new(1, false), seen.version));
        }
    }

    /// The order and the sold hold are one transaction; a payment whose hold has ended is released.
    fn place(&mut self, at: usize) {
        let is_active = self.is_active(at);
        let hold = &mut self.holds[at];
        match &mut hold.checkout {
            Some((state, _)) if is_active => {
                *state = CheckoutState { phase: Phase::Capturing, ordered: true, ..*state };
                hold.state = HoldState::Ended(HoldEnd::Confirmed);
            }
            Some((CheckoutState { ordered: false, .. }, _)) => hold.checkout = None,
            _ => {}
        }
    }

    fn advance(&mut self, step: Step) {
        match step {
            Step::Read(tab) => {
                self.tabs[tab] = Some(Seen { version: self.version, hold: self.hold });
            }
            Step::Write(tab) => self.by(tab, Self::write),
            Step::Take(tab) => self.by(tab, |world, seen| world.take(tab, seen)),
            Step::Link(tab) => self.by(tab, Self::link),
            Step::Begin(tab) => self.by(tab, Self::begin),
            Step::Place(at) => self.place(at),
            Step::Decline(at) => {
                self.holds[at].checkout =
                    self.holds[at].checkout.filter(|(state, _)| state.ordered);
            }
            Step::Expire(at) => self.end(at, HoldEnd::Expired),
        }
    }

    fn by(&mut self, tab: usize, act: impl FnOnce(&mut Self, Seen)) {
        if let Some(seen) = self.tabs[tab] {
            act(self, seen);
        }
    }

    fn orders(&self) -> impl Iterator<Item = (&Hold, i64)> {
        let order = |hold: &'_ Hold| hold.checkout.filter(|(state, _)| state.ordered);
        self.holds.iter().filter_map(move |hold| order(hold).map(|(_, shown)| (hold, shown)))
    }
}

impl Model for CartScene {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        vec![World {
            version: 1,
            hold: None,
            holds: Vec::new(),
            tabs: [None; 2],
            is_change_lost: false,
        }]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        for tab in 0..world.tabs.len() {
            steps.extend([Step::Read(tab), Step::Link(tab), Step::Begin(tab)]);
            if world.version < VERSION_MAX {
                steps.push(Step::Write(tab));
            }
            if world.holds.len() < HOLDS_MAX {
                steps.push(Step::Take(tab));
            }
        }
        for at in 0..world.holds.len() {
            steps.extend([Step::Place(at), Step::Decline(at), Step::Expire(at)]);
        }
    }

    fn next_state(&self, world: &World, step: Step) -> Option<World> {
        let mut next = world.clone();
        without(self.omitted, || next.advance(step));
        (next != *world).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(ONE_ORDER, |_, world: &World| world.orders().count() <= 1),
            Property::always(AS_SHOWN, |_, world: &World| {
                world
                    .orders()
                    .all(|(hold, shown)| hold.version == shown && hold.version == world.version)
            }),
            Property::always(NOTHING_LOST, |_, world: &World| !world.is_change_lost),
            Property::always(NOTHING_KEPT, |_, world: &World| {
                let is_former = |hold: &Hold| {
                    hold.is_linked
                        && hold.version != world.version
                        && matches!(hold.state, HoldState::Active { .. })
                };
                !world.holds.iter().any(is_former)
            }),
            Property::sometimes(ORDERED, |_, world: &World| {
                world.version > 1 && world.orders().next().is_some()
            }),
        ]
    }
}
