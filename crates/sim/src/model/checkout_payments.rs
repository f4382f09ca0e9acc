//! A model of checkouts ([`sale::rules`]): two nodes, a provider with a ledger of its own, replies that are lost after
//! the execution, nodes that crash between any two steps or act on an old copy, customers who press twice,
//! holds that expire, shops that cancel and refund.
//!
//! A node reads the stored checkout, calls the provider, and records the outcome if the version is still the one that
//! it read. Whether its call or its record happens is a choice of the model, so that each crash point is explored.

use sale::rules::{
    CheckoutInput, CheckoutState, Operation, PaymentFacts, Phase, Rule, Task, admits_checkout,
    may_record, step_checkout, without,
};
use stateright::{Model, Property};

/// The invariant: no more is taken for a hold than its price.
pub const PAID_ONCE: &str = "a hold is paid at most once";
/// The invariant: no money without an order.
pub const PAID_FOR_ORDER: &str = "money is taken only for an order, or given back";
/// The invariant: an ended checkout leaves no reservation.
pub const NOTHING_STRANDED: &str = "an ended checkout leaves no authorisation";
/// The invariant: refunds stay within the capture.
pub const REFUNDED_WITHIN: &str = "no more is asked to be given back than was taken";
/// The invariant: the books agree where nothing is under way.
pub const BOOKS_AGREE: &str = "a resting checkout has the amounts of the provider's ledger";
/// The invariant: a customer's card is reserved for one payment of a hold.
pub const ONE_RESERVATION: &str = "a hold has at most one payment that is reserved or taken";
/// The check that the model is not vacuous.
pub const PAID: &str = "an order is paid";
/// The check that orders are cancelled, too.
pub const CANCELLED: &str = "a paid order is cancelled";

const TOTAL: i64 = 2;

/// A scene: the limits of a run.
#[derive(Clone, Debug)]
pub struct CheckoutScene {
    /// The number of checkouts that tabs may begin for the hold.
    pub checkouts: usize,
    /// The number of steps in which a reply gets lost or a node crashes.
    pub faults: u8,
    /// The omitted rule.
    pub omitted: Option<Rule>,
}

/// A checkout and its payment at the provider.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Checkout {
    state: CheckoutState,
    version: i64,
    payment: PaymentFacts,
    /// Numbers of operations that the provider has executed.
    executed: Vec<u32>,
    /// More was asked to be given back than was taken.
    over_refunded: bool,
    /// A call that is under way, and arrives at any later time or never.
    late: Option<(Operation, CheckoutState)>,
    /// The copies that two nodes have read: state and version.
    read: [Option<(CheckoutState, i64)>; 2],
}

/// The state of the model.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct World {
    checkouts: Vec<Checkout>,
    /// The hold is active; `None`: it is sold to the checkout of this number, or has expired.
    is_held: bool,
    sold_to: Option<usize>,
    faults: u8,
    changes: u8,
}

/// One step.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// A tab begins a checkout.
    Begin,
    /// A node reads a checkout.
    Read {
        /// The checkout.
        checkout: usize,
        /// The node.
        node: usize,
    },
    /// A node does the next work on its copy, and records it.
    Work {
        /// The checkout.
        checkout: usize,
        /// The node.
        node: usize,
    },
    /// As `Work`, and the reply gets lost after the execution, or the node crashes before it records the outcome.
    Lose {
        /// The checkout.
        checkout: usize,
        /// The node.
        node: usize,
    },
    /// As `Work`, and the call arrives late or never.
    Delay {
        /// The checkout.
        checkout: usize,
        /// The node.
        node: usize,
    },
    /// A late call arrives.
    Arrive(usize),
    /// The customer has waited for too long.
    GiveUp {
        /// The checkout.
        checkout: usize,
        /// The node.
        node: usize,
    },
    /// The shop changes the order.
    Change {
        /// The checkout.
        checkout: usize,
        /// By this.
        input: CheckoutInput,
    },
    /// The hold expires.
    Expire,
}

/// The fate of a call.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Fate {
    Answered,
    Lost,
    Late,
}

impl Checkout {
    fn new() -> Self {
        Self {
            state: CheckoutState::new(TOTAL, false),
            version: 1,
            payment: PaymentFacts::default(),
            executed: Vec::new(),
            over_refunded: false,
            late: None,
            read: [None; 2],
        }
    }

    /// Records a state if the version is the one that the node has read.
    fn record(&mut self, node: usize, state: CheckoutState) -> bool {
        let Some((_, version)) = self.read[node] else { return false };
        if !may_record(version, self.version) {
            self.read[node] = None;
            return false;
        }
        self.state = state;
        self.version += 1;
        self.read[node] = Some((state, self.version));
        true
    }

    /// The provider executes an operation, once for each key.
    fn execute(&mut self, operation: Operation, state: CheckoutState) -> CheckoutInput {
        if self.executed.contains(&state.number) || operation == Operation::Prepare {
            return CheckoutInput::Done;
        }
        let payment = &mut self.payment;
        let is_open = !payment.closed;
        let executed = match operation {
            Operation::Authorise if is_open => {
                payment.authorised = true;
                true
            }
            // A second key is a second capture: a provider that allows it takes the amount twice.
            Operation::Capture if is_open && payment.authorised => {
                payment.captured += state.amount;
                true
            }
            Operation::Void if payment.captured == 0 => {
                payment.closed = true;
                true
            }
            Operation::Refund => {
                self.over_refunded |= payment.refunded + state.amount > payment.captured;
                payment.refunded += state.amount;
                true
            }
            _ => false,
        };
        if !executed {
            return CheckoutInput::Declined { retryable: false };
        }
        self.executed.push(state.number);
        CheckoutInput::Done
    }
}

impl World {
    fn work(&mut self, at: usize, node: usize, fate: Fate) {
        let Some((state, _)) = self.checkouts[at].read[node] else { return };
        match state.task() {
            Task::Rest => {}
            Task::Order => self.order(at, node, state),
            Task::Resolve(operation) => {
                let facts = CheckoutInput::Facts(self.checkouts[at].payment);
                match step_checkout(state, facts) {
                    Ok((next, _)) if next != state => {
                        self.checkouts[at].record(node, next);
                    }
                    _ => self.call(at, node, operation, state, fate),
                }
            }
            Task::Call(operation) => self.call(at, node, operation, state, fate),
        }
    }

    fn call(
        &mut self,
        at: usize,
        node: usize,
        operation: Operation,
        state: CheckoutState,
        fate: Fate,
    ) {
        let checkout = &mut self.checkouts[at];
        let Ok((sent, _)) = step_checkout(state, CheckoutInput::Sent) else { return };
        if !checkout.record(node, sent) {
            return;
        }
        if fate == Fate::Late {
            checkout.late = Some((operation, sent));
            return;
        }
        let reply = checkout.execute(operation, sent);
        if fate == Fate::Lost {
            return;
        }
        if let Ok((next, _)) = step_checkout(sent, reply) {
            checkout.record(node, next);
        }
    }

    /// Confirms the hold and records the order in one transaction.
    fn order(&mut self, at: usize, node: usize, state: CheckoutState) {
        let is_held = self.is_held && self.sold_to.is_none();
        let input = if is_held { CheckoutInput::Ordered } else { CheckoutInput::HoldEnded };
        let Ok((next, _)) = step_checkout(state, input) else { return };
        if self.checkouts[at].record(node, next) && is_held {
            self.sold_to = Some(at);
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Begin => {
                let is_taken = |checkout: &Checkout| {
                    !matches!(checkout.state.phase, Phase::Declined | Phase::Released)
                };
                if admits_checkout(self.checkouts.iter().any(is_taken)) {
                    self.checkouts.push(Checkout::new());
                }
            }
            Step::Read { checkout, node } => {
                let checkout = &mut self.checkouts[checkout];
                checkout.read[node] = Some((checkout.state, checkout.version));
            }
            Step::Work { checkout, node } => self.work(checkout, node, Fate::Answered),
            Step::Lose { checkout, node } => {
                self.faults += 1;
                self.work(checkout, node, Fate::Lost);
            }
            Step::Delay { checkout, node } => {
                self.faults += 1;
                self.work(checkout, node, Fate::Late);
            }
            Step::Arrive(checkout) => {
                let checkout = &mut self.checkouts[checkout];
                if let Some((operation, state)) = checkout.late.take() {
                    checkout.execute(operation, state);
                }
            }
            Step::GiveUp { checkout, node } => {
                self.faults += 1;
                let checkout = &mut self.checkouts[checkout];
                let Some((state, _)) = checkout.read[node] else { return };
                if let Ok((next, _)) = step_checkout(state, CheckoutInput::GiveUp) {
                    checkout.record(node, next);
                }
            }
            Step::Change { checkout, input } => {
                self.changes += 1;
                let checkout = &mut self.checkouts[checkout];
                if let Ok((next, _)) = step_checkout(checkout.state, input) {
                    checkout.state = next;
                    checkout.version += 1;
                }
            }
            Step::Expire => self.is_held = false,
        }
    }

    fn taken(&self) -> i64 {
        let left = |checkout: &Checkout| checkout.payment.captured - checkout.payment.refunded;
        self.checkouts.iter().map(left).sum()
    }

    fn is_paid_for_order(&self) -> bool {
        self.checkouts.iter().enumerate().all(|(at, checkout)| {
            let left = checkout.payment.captured - checkout.payment.refunded;
            left <= 0 || self.sold_to == Some(at)
        })
    }

    fn all_resting(&self, agrees: impl Fn(&Checkout) -> bool) -> bool {
        let resting = self.checkouts.iter().filter(|checkout| !checkout.state.phase.is_open());
        let mut resting = resting;
        resting.all(agrees)
    }
}

impl Model for CheckoutScene {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        vec![World { checkouts: Vec::new(), is_held: true, sold_to: None, faults: 0, changes: 0 }]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        if world.checkouts.len() < self.checkouts {
            steps.push(Step::Begin);
        }
        if world.is_held {
            steps.push(Step::Expire);
        }
        for checkout in 0..world.checkouts.len() {
            for node in 0..2 {
                steps.push(Step::Read { checkout, node });
                steps.push(Step::Work { checkout, node });
                if world.faults < self.faults {
                    steps.push(Step::Lose { checkout, node });
                    steps.push(Step::Delay { checkout, node });
                    steps.push(Step::GiveUp { checkout, node });
                }
            }
            if world.checkouts[checkout].late.is_some() {
                steps.push(Step::Arrive(checkout));
            }
            if world.changes < 2 {
                let all =
                    [CheckoutInput::Cancel, CheckoutInput::Refund(TOTAL), CheckoutInput::Refund(1)];
                steps.extend(all.map(|input| Step::Change { checkout, input }));
            }
        }
    }

    fn next_state(&self, world: &World, step: Step) -> Option<World> {
        let mut next = world.clone();
        without(self.omitted, || next.take(step));
        (next != *world).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(PAID_ONCE, |_, world: &World| world.taken() <= TOTAL),
            Property::always(PAID_FOR_ORDER, |_, world: &World| world.is_paid_for_order()),
            Property::always(NOTHING_STRANDED, |_, world: &World| {
                let is_end =
                    |phase| matches!(phase, Phase::Declined | Phase::Released | Phase::Cancelled);
                world.all_resting(|Checkout { state, payment, .. }| {
                    let is_reserved =
                        payment.authorised && !payment.closed && payment.captured == 0;
                    !is_end(state.phase) || !is_reserved
                })
            }),
            Property::always(REFUNDED_WITHIN, |_, world: &World| {
                world.checkouts.iter().all(|checkout| !checkout.over_refunded)
            }),
            Property::always(BOOKS_AGREE, |_, world: &World| {
                world.all_resting(|Checkout { state, payment, .. }| {
                    (state.captured, state.refunded) == (payment.captured, payment.refunded)
                })
            }),
            Property::always(ONE_RESERVATION, |_, world: &World| {
                let counts = |Checkout { payment, .. }: &&Checkout| {
                    payment.authorised && !payment.closed && payment.captured == payment.refunded
                        || payment.captured > payment.refunded
                };
                world.checkouts.iter().filter(counts).count() <= 1
            }),
            Property::sometimes(PAID, |_, world: &World| {
                world.checkouts.iter().any(|checkout| checkout.state.phase == Phase::Captured)
            }),
            Property::sometimes(CANCELLED, |_, world: &World| {
                world.checkouts.iter().any(|Checkout { state, .. }| {
                    state.phase == Phase::Cancelled && state.refunded == TOTAL
                })
            }),
        ]
    }

    fn within_boundary(&self, world: &World) -> bool {
        world.checkouts.iter().all(|checkout| checkout.version < 16)
    }
}
