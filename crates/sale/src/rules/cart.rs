//! The life of a cart: lines that a customer changes, one hold of them at a time, and one order.
//!
//! ```text
//!            hold                 begin a checkout        place the order
//!  ┌──────┐ ───────► ┌──────┐ ───────────────► ┌────────┐ ───────────► ┌─────────┐
//!  │ open │          │ held │                  │ paying │              │ ordered │
//!  └──────┘ ◄─────── └──────┘ ◄─────────────── └────────┘              └─────────┘
//!     ▲    change, expiry   payment declined       │ payment given up       │ first capture declined
//!     └────────────────────────────────────────────┴────────────────────────┘
//! ```
//!
//! The stage is that of the cart's hold and of the hold's checkout; it is not stored a second time.

use super::checkout::CheckoutState;
use super::hold::{HoldEnd, HoldState};
use super::phase::Phase;
use super::rule::{Rule, on};

/// The stage of a cart.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum CartStage {
    /// Its lines are not held.
    Open,
    /// Its lines are held.
    Held,
    /// A payment is under way.
    Paying,
    /// It has its order.
    Ordered,
}

impl CartStage {
    /// All stages.
    pub const ALL: [Self; 4] = [Self::Open, Self::Held, Self::Paying, Self::Ordered];

    /// Returns the word in the API and in PostgreSQL's functions.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Held => "held",
            Self::Paying => "paying",
            Self::Ordered => "ordered",
        }
    }

    /// Returns the stage that a word names.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.word() == word)
    }

    /// Returns the stage by the cart's hold, and by the hold's checkout that was neither declined nor released.
    #[must_use]
    pub fn of(hold: Option<HoldState>, checkout: Option<&CheckoutState>, now_ms: i64) -> Self {
        match (checkout, hold) {
            (Some(state), _) if is_never_paid(state) => Self::Open,
            (Some(state), _) if state.ordered => Self::Ordered,
            (Some(_), _) => Self::Paying,
            (None, Some(HoldState::Ended(HoldEnd::Confirmed))) => Self::Ordered,
            (None, Some(HoldState::Active { deadline_ms, .. })) if now_ms < deadline_ms => {
                Self::Held
            }
            (None, _) => Self::Open,
        }
    }
}

/// Returns whether an order was cancelled because its first capture was declined: its customer may pay another way.
#[must_use]
pub fn is_never_paid(state: &CheckoutState) -> bool {
    state.phase == Phase::Cancelled
        && state.captured == 0
        && state.total > 0
        && !state.captures_later
}

/// The version of a cart that a request is about.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum CartVersion {
    /// There is no cart yet.
    Absent,
    /// The one that there is.
    Any,
    /// This one.
    Exactly(i64),
}

/// A stored cart, as far as the rules need it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct CartState {
    /// Ascends with each change, also over a deletion.
    pub version: i64,
    /// It was deleted.
    pub is_deleted: bool,
    /// The stage.
    pub stage: CartStage,
}

/// A change of a cart that may happen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CartWrite {
    /// The cart is as it is wanted.
    Nothing,
    /// It becomes this version. Its hold, if it is active, is cancelled with it.
    Version {
        /// The new version.
        version: i64,
        /// Whether to cancel the hold.
        cancels_hold: bool,
    },
}

/// Why a cart was not changed, held or paid.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CartRefusal {
    /// There is no cart.
    Unknown,
    /// The cart has another version: this one.
    Changed(i64),
    /// A payment is under way.
    Paying,
    /// The cart has its order.
    Ordered,
}

/// Returns whether the cart is one that the request is about.
fn check_version(state: Option<CartState>, wanted: CartVersion) -> Result<i64, CartRefusal> {
    let current = state.filter(|state| !state.is_deleted);
    match (current, wanted) {
        (None, CartVersion::Absent) => Ok(state.map_or(0, |state| state.version)),
        (None, _) => Err(CartRefusal::Unknown),
        (Some(CartState { version, .. }), wanted) => {
            let is_wanted = match wanted {
                CartVersion::Absent => false,
                CartVersion::Any => true,
                CartVersion::Exactly(wanted) => wanted == version,
            };
            if is_wanted || !on(Rule::CartVersionShown) {
                Ok(version)
            } else {
                Err(CartRefusal::Changed(version))
            }
        }
    }
}

/// Judges a change. `is_same`: the cart has the wanted content already, so that the change is a repeat or loses nothing.
///
/// # Errors
/// [`CartRefusal`]; the cart stays as it is.
pub fn write_cart(
    state: Option<CartState>,
    wanted: CartVersion,
    is_same: bool,
) -> Result<CartWrite, CartRefusal> {
    if let Some(state) = state.filter(|state| !state.is_deleted) {
        match state.stage {
            CartStage::Paying if on(Rule::CartFixedWhilePaid) => return Err(CartRefusal::Paying),
            CartStage::Ordered if on(Rule::CartFixedWhilePaid) => return Err(CartRefusal::Ordered),
            _ if is_same => return Ok(CartWrite::Nothing),
            _ => {}
        }
    }
    let version = check_version(state, wanted)? + 1;
    let cancels_hold =
        state.is_some_and(|state| state.stage == CartStage::Held) && on(Rule::ChangeCancelsHold);
    Ok(CartWrite::Version { version, cancels_hold })
}

/// Returns whether a cart gets a new hold: of its current version, and only if no earlier one can become an order.
#[must_use]
pub fn admits_cart_hold(state: CartState, version: i64) -> bool {
    let is_free = state.stage == CartStage::Open || !on(Rule::OneHoldPerCart);
    !state.is_deleted && state.version == version && is_free
}

/// Judges the begin of a checkout. `is_its_hold`: the checkout is of the cart's hold. One that is under way or has an order
/// is joined by its hold alone.
///
/// # Errors
/// [`CartRefusal`].
pub fn begin_cart(
    state: Option<CartState>,
    wanted: CartVersion,
    is_its_hold: bool,
) -> Result<(), CartRefusal> {
    let current = state.filter(|state| !state.is_deleted).ok_or(CartRefusal::Unknown)?;
    if !is_its_hold && on(Rule::CheckoutOfCartsHold) {
        return Err(CartRefusal::Changed(current.version));
    }
    match current.stage {
        CartStage::Paying | CartStage::Ordered => Ok(()),
        CartStage::Open | CartStage::Held => check_version(state, wanted).map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn cart(version: i64, stage: CartStage) -> Option<CartState> {
        Some(CartState { version, is_deleted: false, stage })
    }

    const DELETED: Option<CartState> =
        Some(CartState { version: 3, is_deleted: true, stage: CartStage::Open });

    fn written(version: i64, cancels_hold: bool) -> Result<CartWrite, CartRefusal> {
        Ok(CartWrite::Version { version, cancels_hold })
    }

    #[test]
    fn only_the_version_that_was_read_is_replaced() {
        use CartVersion::{Absent, Any, Exactly};
        let open = cart(2, CartStage::Open);
        for (state, wanted, is_same, expected) in [
            (None, Absent, false, written(1, false)),
            (None, Exactly(1), false, Err(CartRefusal::Unknown)),
            (None, Any, false, Err(CartRefusal::Unknown)),
            (open, Exactly(2), false, written(3, false)),
            (open, Any, false, written(3, false)),
            (open, Exactly(1), false, Err(CartRefusal::Changed(2))),
            (open, Absent, false, Err(CartRefusal::Changed(2))),
            (open, Exactly(1), true, Ok(CartWrite::Nothing)),
            (cart(2, CartStage::Held), Exactly(2), false, written(3, true)),
            (cart(2, CartStage::Held), Exactly(2), true, Ok(CartWrite::Nothing)),
            (cart(2, CartStage::Paying), Exactly(2), true, Err(CartRefusal::Paying)),
            (cart(2, CartStage::Ordered), Any, true, Err(CartRefusal::Ordered)),
            (DELETED, Absent, true, written(4, false)),
            (DELETED, Exactly(3), false, Err(CartRefusal::Unknown)),
        ] {
            assert_eq!(write_cart(state, wanted, is_same), expected, "{state:?} {wanted:?}");
        }
    }

    #[test]
    fn stage_follows_hold_and_checkout() {
        let held = Some(HoldState::Active { deadline_ms: 10, extended: false });
        let sold = Some(HoldState::Ended(HoldEnd::Confirmed));
        let new = CheckoutState::new(5, false);
        let placed = CheckoutState { phase: Phase::Capturing, ordered: true, ..new };
        let unpaid = CheckoutState { phase: Phase::Cancelled, ..placed };
        let cancelled = CheckoutState { captured: 5, refunded: 5, ..unpaid };
        for (hold, checkout, now_ms, expected) in [
            (None, None, 1, CartStage::Open),
            (held, None, 9, CartStage::Held),
            (held, None, 10, CartStage::Open),
            (Some(HoldState::Ended(HoldEnd::Expired)), None, 1, CartStage::Open),
            (sold, None, 1, CartStage::Ordered),
            (held, Some(new), 99, CartStage::Paying),
            (sold, Some(placed), 1, CartStage::Ordered),
            (sold, Some(unpaid), 1, CartStage::Open),
            (sold, Some(cancelled), 1, CartStage::Ordered),
        ] {
            let stage = CartStage::of(hold, checkout.as_ref(), now_ms);
            assert_eq!(stage, expected, "{hold:?} {checkout:?}");
        }
    }

    #[test]
    fn checkout_is_of_the_shown_version_and_its_hold() {
        let held = cart(2, CartStage::Held);
        for (state, version, is_its_hold, expected) in [
            (held, 2, true, Ok(())),
            (held, 1, true, Err(CartRefusal::Changed(2))),
            (held, 2, false, Err(CartRefusal::Changed(2))),
            (cart(2, CartStage::Ordered), 1, true, Ok(())),
            (DELETED, 3, true, Err(CartRefusal::Unknown)),
            (None, 1, true, Err(CartRefusal::Unknown)),
        ] {
            let begun = begin_cart(state, CartVersion::Exactly(version), is_its_hold);
            assert_eq!(begun, expected, "{state:?} {version}");
        }
    }
}
