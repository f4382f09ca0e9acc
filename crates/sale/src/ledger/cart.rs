//! The port of carts: they are stored beside holds and checkouts, so that a cart, its hold and its order agree.

use async_trait::async_trait;

use super::error::LedgerError;
use crate::checkout_id::CheckoutId;
use crate::hold_id::HoldId;
use crate::request::{CartContent, CartId};
use crate::rules::{CartRefusal, CartState, CartVersion};

/// A stored cart.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CartRecord {
    /// Its version and stage.
    pub state: CartState,
    /// Its content.
    pub content: CartContent,
    /// Its latest hold, which may have ended.
    pub hold: Option<HoldId>,
    /// The number of holds that it has had.
    pub holds: i64,
    /// When the latest hold ends or has ended, in ms since 1970 by the database's clock.
    pub deadline_ms: Option<i64>,
    /// The checkout that is under way or has an order.
    pub checkout: Option<CheckoutId>,
}

/// Why a cart was not changed or paid.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CartRefused {
    /// The rule's refusal.
    pub refusal: CartRefusal,
    /// The checkout that is under way or has an order.
    pub checkout: Option<CheckoutId>,
}

/// The cart that a checkout is of.
#[derive(Clone, Debug)]
pub struct ShownCart {
    /// The cart.
    pub cart: CartId,
    /// The version that the customer was shown.
    pub version: CartVersion,
}

/// A hold that becomes a cart's.
#[derive(Clone, Debug)]
pub struct LinkHold {
    /// The cart.
    pub cart: CartId,
    /// The version whose lines are held.
    pub version: i64,
    /// Its number among the holds of the cart, from 1.
    pub number: i64,
    /// The hold.
    pub hold: HoldId,
}

/// The outcome of a link.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LinkOutcome {
    /// The hold is the cart's.
    Linked,
    /// The cart has another version: the hold is not needed.
    Changed,
    /// The cart has got another hold, or a checkout.
    Superseded,
}

/// Carts in the ledger's database. As with [`Ledger`](super::Ledger), every call is one transaction.
#[async_trait]
pub trait CartLedger: Send + Sync + 'static {
    /// Creates or replaces a cart, or deletes it where there is no content. An active hold of its former lines is
    /// cancelled. Returns the cart's version; 0: there was none to delete.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn write_cart(
        &self,
        cart: &CartId,
        wanted: CartVersion,
        content: Option<&CartContent>,
    ) -> Result<Result<i64, CartRefused>, LedgerError>;

    /// Returns a cart; `None`: there is none.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn find_cart(&self, cart: &CartId) -> Result<Option<CartRecord>, LedgerError>;

    /// Makes a hold that of a cart, if the rules admit a new one.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn link_cart_hold(&self, link: &LinkHold) -> Result<LinkOutcome, LedgerError>;
}
