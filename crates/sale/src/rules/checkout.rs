//! The life of a checkout: one payment for one hold, and the order that comes of it.
//!
//! ```text
//! preparing ─► authorising ─► ordering ─► capturing ─► captured ⇄ refunding
//!     │            │  │           │           │            │          │
//!     │            │  └► declined │           │            └──────────┤ cancel
//!     │            ▼              ▼           ▼                       ▼
//!     └► released ◄──────────── voiding ─► cancelled ◄────────────────┘
//! ```
//!
//! With a later capture, `authorised` lies between `ordering` and `capturing`.
//!
//! An operation is recorded as sent before the provider is called. A sent operation stays until its outcome is
//! definite: a reply, or the provider's own record of the payment. Until then it is repeated with its key only.

use super::phase::{Operation, Phase};
use super::rule::{Rule, on};

/// A checkout. Amounts are in minor units.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct CheckoutState {
    /// The phase.
    pub phase: Phase,
    /// The operation of the phase was sent, and its outcome is not known.
    pub sent: bool,
    /// The number of the operation, which is a part of its key.
    pub number: u32,
    /// The part of the price that the provider takes: all of it without a gift card.
    pub total: i64,
    /// The amount of the operation.
    pub amount: i64,
    /// The amount that was taken.
    pub captured: i64,
    /// The amount that was given back.
    pub refunded: i64,
    /// There is an order: the hold is confirmed.
    pub ordered: bool,
    /// The order is being cancelled: its units are back in stock.
    pub cancelling: bool,
    /// The amount is taken when the shop asks for it.
    pub captures_later: bool,
    /// The part of the price that a gift card pays.
    pub gift: i64,
    /// The amount that was given back to the gift card.
    pub gift_returned: i64,
}

/// A payment as the provider has recorded it.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct PaymentFacts {
    /// The amount is or was reserved.
    pub authorised: bool,
    /// The last authorisation was declined.
    pub declined: bool,
    /// No authorisation is left, and none will come.
    pub closed: bool,
    /// The amount that was taken.
    pub captured: i64,
    /// The amount that was given back.
    pub refunded: i64,
}

/// An event in the life of a checkout.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum CheckoutInput {
    /// The operation of the phase is about to be sent.
    Sent,
    /// It was executed.
    Done,
    /// It was not executed, and its key will not execute it.
    Declined {
        /// Whether a new attempt may succeed.
        retryable: bool,
    },
    /// The provider's record was read.
    Facts(PaymentFacts),
    /// The hold is confirmed and the order recorded.
    Ordered,
    /// The hold has ended without an order.
    HoldEnded,
    /// The customer has waited for too long.
    GiveUp,
    /// The shop takes this amount.
    Capture(i64),
    /// The shop cancels the order.
    Cancel,
    /// The shop gives this amount back.
    Refund(i64),
}

/// A change that is made in the transaction that records the transition.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum CheckoutEffect {
    /// None.
    Nothing,
    /// The units of the order are put back in stock.
    Restock,
}

/// The next work on a checkout.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Task {
    /// None.
    Rest,
    /// Confirm the hold and record the order.
    Order,
    /// Call the provider.
    Call(Operation),
    /// Read the provider's record, then call again with the same key where that does not settle the operation.
    Resolve(Operation),
}

/// Why an input was refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CheckoutRefusal {
    /// The phase does not take it.
    Phase(Phase),
    /// The amount is not 1 to this.
    Amount(i64),
}

impl CheckoutState {
    /// Returns a new checkout.
    #[must_use]
    pub const fn new(total: i64, captures_later: bool) -> Self {
        Self {
            // A gift card that pays all needs no provider: its part was reserved at the begin.
            phase: if total == 0 { Phase::Ordering } else { Phase::Preparing },
            sent: false,
            number: 1,
            total,
            amount: total,
            captured: 0,
            refunded: 0,
            ordered: false,
            cancelling: false,
            captures_later,
            gift: 0,
            gift_returned: 0,
        }
    }

    /// Returns a new checkout of which a gift card pays a part beside `total`.
    #[must_use]
    pub const fn with_gift(total: i64, gift: i64, captures_later: bool) -> Self {
        Self { gift, ..Self::new(total, captures_later) }
    }

    /// Returns the next work.
    #[must_use]
    pub const fn task(&self) -> Task {
        let operation = match self.phase {
            Phase::Preparing => Operation::Prepare,
            Phase::Authorising => Operation::Authorise,
            Phase::Capturing => Operation::Capture,
            Phase::Voiding => Operation::Void,
            Phase::Refunding => Operation::Refund,
            Phase::Ordering => return Task::Order,
            _ => return Task::Rest,
        };
        match (operation, self.sent) {
            (Operation::Prepare, _) | (_, false) => Task::Call(operation),
            (_, true) => Task::Resolve(operation),
        }
    }

    /// Enters a phase whose operation is a new one.
    const fn enter(self, phase: Phase, amount: i64) -> Self {
        Self { phase, amount, sent: false, number: self.number + 1, ..self }
    }

    const fn rest(self, phase: Phase) -> Self {
        Self { phase, amount: 0, sent: false, ..self }
    }

    /// Returns the part of the taken amount that was not given back.
    #[must_use]
    pub const fn refundable(&self) -> i64 {
        self.captured - self.refunded
    }

    /// Returns the part of the order that was not given back, by the provider and on the gift card.
    #[must_use]
    pub const fn refundable_with_gift(&self) -> i64 {
        self.refundable() + self.gift - self.gift_returned
    }

    /// The order is given up: its units go back in stock, and its part back on the gift card.
    fn cancelled(self) -> Self {
        let is_returned = self.ordered && on(Rule::GiftReturnedOnCancel);
        let gift_returned = if is_returned { self.gift } else { self.gift_returned };
        Self { cancelling: true, gift_returned, ..self }
    }
}

type Next = Result<(CheckoutState, CheckoutEffect), CheckoutRefusal>;

/// Returns the next state.
///
/// # Errors
/// [`CheckoutRefusal`]; the checkout stays as it is.
pub fn step_checkout(state: CheckoutState, input: CheckoutInput) -> Next {
    match input {
        CheckoutInput::Sent if matches!(state.task(), Task::Call(_) | Task::Resolve(_)) => {
            // A new number is a new key: the provider could execute both.
            let renumbered = state.sent && !on(Rule::SameKeyUntilDefinite);
            Ok(plain(CheckoutState {
                sent: true,
                number: state.number + renumbered as u32,
                ..state
            }))
        }
        CheckoutInput::Done => done(state, state.amount),
        CheckoutInput::Declined { retryable } => declined(state, retryable),
        CheckoutInput::Facts(facts) => settled_by(state, facts),
        CheckoutInput::Ordered if state.phase == Phase::Ordering => {
            let ordered = CheckoutState { ordered: true, ..state };
            Ok(plain(if state.total == 0 {
                ordered.rest(Phase::Captured)
            } else if state.captures_later {
                ordered.rest(Phase::Authorised)
            } else {
                ordered.enter(Phase::Capturing, state.total)
            }))
        }
        CheckoutInput::HoldEnded if state.phase == Phase::Ordering => {
            Ok(plain(without_hold(state)))
        }
        CheckoutInput::GiveUp => give_up(state),
        CheckoutInput::Capture(amount) if state.phase == Phase::Authorised => {
            within(amount, state.total)?;
            Ok(plain(state.enter(Phase::Capturing, amount)))
        }
        CheckoutInput::Cancel => cancel(state),
        CheckoutInput::Refund(amount) if state.phase == Phase::Captured => {
            within(amount, state.refundable_with_gift())?;
            Ok(plain(refund(state, amount)))
        }
        _ => refused(state),
    }
}

const fn plain(state: CheckoutState) -> (CheckoutState, CheckoutEffect) {
    (state, CheckoutEffect::Nothing)
}

const fn refused(state: CheckoutState) -> Next {
    Err(CheckoutRefusal::Phase(state.phase))
}

fn within(amount: i64, most: i64) -> Result<(), CheckoutRefusal> {
    if amount < 1 || (amount > most && on(Rule::RefundWithinCapture)) {
        return Err(CheckoutRefusal::Amount(most));
    }
    Ok(())
}

/// Gives an amount back: by the provider first, and the rest on the gift card.
fn refund(state: CheckoutState, amount: i64) -> CheckoutState {
    // Without the rule that bounds it, all of the amount is asked of the provider.
    let by_provider = if state.gift == 0 { amount } else { amount.min(state.refundable()) };
    let gift_returned = state.gift_returned + amount - by_provider;
    let state = CheckoutState { gift_returned, ..state };
    if by_provider == 0 { state } else { state.enter(Phase::Refunding, by_provider) }
}

fn without_hold(state: CheckoutState) -> CheckoutState {
    if state.total == 0 {
        state.rest(Phase::Released)
    } else if on(Rule::ReleasedWithoutHold) {
        state.enter(Phase::Voiding, state.total)
    } else {
        state.enter(Phase::Capturing, state.total)
    }
}

/// The operation of the phase was executed with this amount.
fn done(state: CheckoutState, amount: i64) -> Next {
    Ok(plain(match state.phase {
        Phase::Preparing => state.enter(Phase::Authorising, state.total),
        Phase::Authorising if on(Rule::OrderBeforeCapture) => state.rest(Phase::Ordering),
        Phase::Authorising => state.enter(Phase::Capturing, state.total),
        Phase::Capturing => {
            CheckoutState { captured: state.captured + amount, ..state }.rest(Phase::Captured)
        }
        Phase::Refunding => {
            let refunded = state.refunded + amount;
            let phase = if state.cancelling { Phase::Cancelled } else { Phase::Captured };
            CheckoutState { refunded, ..state }.rest(phase)
        }
        Phase::Voiding if state.ordered => state.rest(Phase::Cancelled),
        Phase::Voiding => state.rest(Phase::Released),
        _ => return refused(state),
    }))
}

fn declined(state: CheckoutState, retryable: bool) -> Next {
    let again = state.enter(state.phase, state.amount);
    Ok(match state.phase {
        // The customer decides on another attempt, with the same hold.
        Phase::Preparing | Phase::Authorising => plain(state.rest(Phase::Declined)),
        Phase::Capturing | Phase::Refunding if retryable => plain(again),
        Phase::Capturing if state.captures_later => plain(state.rest(Phase::Authorised)),
        Phase::Capturing => {
            (state.cancelled().enter(Phase::Voiding, state.total), CheckoutEffect::Restock)
        }
        Phase::Refunding if !state.cancelling => plain(state.rest(Phase::Captured)),
        Phase::Refunding => plain(again),
        // The provider's record shows why: the payment may be closed, or taken.
        Phase::Voiding => plain(CheckoutState { sent: true, ..again }),
        _ => return refused(state),
    })
}

/// The provider's record settles the operation, or leaves the state as it is.
fn settled_by(state: CheckoutState, facts: PaymentFacts) -> Next {
    match state.phase {
        _ if !state.sent => refused(state),
        Phase::Authorising if facts.authorised && !facts.closed => done(state, state.amount),
        Phase::Authorising if facts.closed || facts.declined => declined(state, false),
        Phase::Capturing if facts.captured > state.captured => {
            done(state, facts.captured - state.captured)
        }
        Phase::Capturing if facts.closed => declined(state, false),
        Phase::Refunding if facts.refunded >= state.refunded + state.amount => {
            done(state, state.amount)
        }
        Phase::Voiding if facts.captured > facts.refunded => {
            let taken = CheckoutState {
                captured: facts.captured,
                refunded: facts.refunded,
                cancelling: true,
                ..state
            };
            Ok(plain(taken.enter(Phase::Refunding, taken.refundable())))
        }
        Phase::Voiding if facts.closed => done(state, state.amount),
        _ => Ok(plain(state)),
    }
}

fn give_up(state: CheckoutState) -> Next {
    match state.phase {
        Phase::Preparing => Ok(plain(state.rest(Phase::Released))),
        // A void also closes a payment whose authorisation is still on its way.
        Phase::Authorising if on(Rule::VoidedBeforeRelease) => {
            Ok(plain(state.enter(Phase::Voiding, state.total)))
        }
        Phase::Authorising => Ok(plain(state.rest(Phase::Released))),
        _ => refused(state),
    }
}

fn cancel(state: CheckoutState) -> Next {
    let cancelling = state.cancelled();
    let next = match state.phase {
        Phase::Authorised => cancelling.enter(Phase::Voiding, state.total),
        Phase::Captured if state.refundable() == 0 => cancelling.rest(Phase::Cancelled),
        Phase::Captured => cancelling.enter(Phase::Refunding, state.refundable()),
        _ => return refused(state),
    };
    Ok((next, CheckoutEffect::Restock))
}

/// Returns whether a hold may get a checkout, by whether it has one that is open or has an order.
#[must_use]
pub fn admits_checkout(has_checkout: bool) -> bool {
    !has_checkout || !on(Rule::OneCheckoutPerHold)
}

/// Returns whether a node may record a transition: the version that it read is the recorded one.
#[must_use]
pub fn may_record(read: i64, recorded: i64) -> bool {
    read == recorded || !on(Rule::CurrentVersion)
}

#[cfg(test)]
#[path = "checkout_tests.rs"]
mod tests;
