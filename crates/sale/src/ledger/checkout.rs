//! The port of checkouts: they are stored in the ledger's database, so that an order and the end of its hold are
//! one transaction.

use std::sync::Arc;

use async_trait::async_trait;

use super::cart::{CartRefused, ShownCart};
use super::error::LedgerError;
use super::gift::GiftRefusal;
use crate::checkout_id::CheckoutId;
use crate::hold_id::HoldId;
use crate::request::{CartId, GiftPart, IdempotencyKey, RequestKey};
use crate::rules::{CheckoutState, HoldEnd, Operation, Phase, Price, PricedLine};

/// The most checkouts of a hold: a customer may try this many payments.
pub const ATTEMPTS_MAX: u32 = 10;

/// A checkout to be begun.
#[derive(Clone, Debug)]
pub struct NewCheckout {
    /// Its name.
    pub id: CheckoutId,
    /// The key of the request. Its digest is that of hold and payment, the same in all tabs.
    pub key: RequestKey,
    /// The hold.
    pub hold: HoldId,
    /// The configured name of the provider.
    pub provider: String,
    /// The provider's name of the payment method; never a card number.
    pub method: String,
    /// The price of the hold.
    pub price: Price,
    /// The part that a gift card pays.
    pub gift: Option<GiftPart>,
    /// The cart whose lines are held: it has to be as it was shown.
    pub cart: Option<ShownCart>,
    /// The amount is taken when the shop asks for it.
    pub captures_later: bool,
    /// Ms for which this node keeps it.
    pub lease_ms: i64,
    /// Ms for which the hold stays active at least.
    pub keep_hold_ms: i64,
    /// A change of the new checkout that is recorded with it: a payment that is registered without a call, and its
    /// authorisation as sent.
    pub first: Option<CheckoutChange>,
}

impl NewCheckout {
    /// Returns whether its begin needs its hold alone, neither a gift card nor a cart.
    #[must_use]
    pub const fn needs_hold_alone(&self) -> bool {
        self.gift.is_none() && self.cart.is_none()
    }
}

/// A hold as its checkout needs it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PricedHold {
    /// The customer.
    pub customer: String,
    /// The lines, with the prices that were in force when it was granted.
    pub lines: Vec<PricedLine>,
}

/// The outcome of a begin.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum BeginOutcome {
    /// It was begun, and its first change recorded; this node has the lease.
    Begun,
    /// The key or another key of the same payment began this checkout before.
    Known(CheckoutId),
    /// Another payment of the hold is open, or has an order.
    Other(CheckoutId),
    /// The hold has had [`ATTEMPTS_MAX`] checkouts.
    TooMany,
    /// There is no hold of that name.
    UnknownHold,
    /// The hold has ended without a checkout.
    HoldEnded(HoldEnd),
    /// The gift card does not pay its part. Nothing was begun.
    Gift(GiftRefusal),
    /// The cart is not as it was shown. Nothing was begun.
    Cart(CartId, CartRefused),
    /// Another request had its effect under this key.
    KeyReused,
    /// A request with this key is being executed.
    KeyInFlight,
}

/// A stored checkout. Times are in ms since 1970 by the database's clock.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CheckoutRecord {
    /// Its name.
    pub id: CheckoutId,
    /// The hold.
    pub hold: HoldId,
    /// The customer of the hold.
    pub customer: String,
    /// The configured name of the provider.
    pub provider: String,
    /// The provider's name of the payment method.
    pub method: String,
    /// The price of the order.
    pub price: Price,
    /// The digest of the code of the gift card that pays a part.
    pub gift_card: Option<String>,
    /// The provider's name of the payment, once there is one.
    pub reference: Option<String>,
    /// The state.
    pub state: CheckoutState,
    /// The version that a save has to name.
    pub version: i64,
    /// How often a node has taken it up in this phase.
    pub tries: i64,
    /// The last reason of a decline or delay.
    pub reason: Option<String>,
    /// Ms until a node takes it up; `None`: it is at rest.
    pub due_in_ms: Option<i64>,
    /// Age in ms.
    pub age_ms: i64,
    /// When the order was recorded.
    pub ordered_at_ms: Option<i64>,
}

/// A call to a provider, as it is recorded before and after.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PaymentAttempt {
    /// The key towards the provider.
    pub key: String,
    /// The operation.
    pub operation: Operation,
    /// The amount.
    pub amount: i64,
    /// `sent`, `done` or `declined`.
    pub outcome: &'static str,
}

/// Changes of a checkout that are recorded in one transaction.
#[derive(Clone, Debug)]
pub struct CheckoutChange {
    /// The checkout.
    pub id: CheckoutId,
    /// The version that was read.
    pub version: i64,
    /// The new state.
    pub state: CheckoutState,
    /// The phases from the recorded one to the new one, both included.
    pub path: Vec<Phase>,
    /// Confirm the hold and record the order.
    pub places_order: bool,
    /// Put the order's units back in stock.
    pub restocks: bool,
    /// The provider's name of the payment.
    pub reference: Option<String>,
    /// The reason of a decline or delay.
    pub reason: Option<String>,
    /// Calls to the provider.
    pub attempts: Vec<PaymentAttempt>,
    /// Events of the order for the outbox: kind and JSON.
    pub events: Vec<(&'static str, String)>,
    /// Ms until a node takes it up again; `None`: it is at rest.
    pub due_in_ms: Option<i64>,
    /// Ms for which this node keeps it; 0: others may take it up.
    pub lease_ms: i64,
    /// Ms for which the hold, if it is active, stays active at least; 0: no change.
    pub keep_hold_ms: i64,
    /// The request of the shop that is executed.
    pub request: Option<RequestKey>,
}

/// The outcome of a change.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ChangeOutcome {
    /// All is recorded.
    Recorded {
        /// When the order was recorded, for a change that places it.
        ordered_at_ms: Option<i64>,
    },
    /// Another node has changed the checkout. Nothing is recorded.
    Stale,
    /// The hold has ended. Nothing is recorded.
    HoldEnded,
    /// The request's key is known. Nothing is recorded.
    KeyKnown,
}

/// An event of an order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OrderEvent {
    /// Its place in the order of commits: pass it on to get later ones.
    pub cursor: String,
    /// The order.
    pub order: CheckoutId,
    /// Its number within the order, from 1.
    pub number: i64,
    /// The kind.
    pub kind: String,
    /// The event as JSON.
    pub body: String,
}

/// Checkouts in the ledger's database. As with [`Ledger`](super::Ledger), all that a call answered is durable; the changes of
/// each checkout are one transaction. A call that failed may have had its effect on some checkouts of its batch.
#[async_trait]
pub trait CheckoutLedger: Send + Sync + 'static {
    /// Sets the price of a SKU for holds from now on. Returns false for an unknown SKU.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn set_price(&self, sku: &str, price: Price) -> Result<bool, LedgerError>;

    /// Returns the price of a SKU.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn price(&self, sku: &str) -> Result<Option<Price>, LedgerError>;

    /// Returns each hold of a batch with its prices; `None`: there is none of that name.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn priced_holds(
        &self,
        holds: Arc<[HoldId]>,
    ) -> Result<Vec<Option<PricedHold>>, LedgerError>;

    /// Begins each checkout of a batch, which names each hold once, unless its key, its payment or its hold has one.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn begin_checkouts(
        &self,
        batch: Arc<[NewCheckout]>,
    ) -> Result<Vec<BeginOutcome>, LedgerError>;

    /// Returns a checkout.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn find_checkout(&self, id: CheckoutId) -> Result<Option<CheckoutRecord>, LedgerError>;

    /// Returns the digest and the checkout of a request that had an effect.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn find_request(
        &self,
        key: &IdempotencyKey,
    ) -> Result<Option<(u64, Option<CheckoutId>)>, LedgerError>;

    /// Leases checkouts that are due and not leased, at most `limit`.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn lease_due(
        &self,
        limit: u32,
        lease_ms: i64,
    ) -> Result<Vec<CheckoutRecord>, LedgerError>;

    /// Leases a checkout; `None`: there is none, or it is leased.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn lease_checkout(
        &self,
        id: CheckoutId,
        lease_ms: i64,
    ) -> Result<Option<CheckoutRecord>, LedgerError>;

    /// Records each change of a batch, which names each checkout once: all of it or nothing.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn change_checkouts(
        &self,
        batch: Arc<[CheckoutChange]>,
    ) -> Result<Vec<ChangeOutcome>, LedgerError>;

    /// Records an event of a provider, and makes the checkout due that it is about. Returns false for an event that
    /// was recorded before.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn note_webhook(
        &self,
        provider: &str,
        event: &str,
        reference: &str,
    ) -> Result<bool, LedgerError>;

    /// Returns events of orders after a cursor, in the order of their commits. An event that a later answer could
    /// put before one of these is not among them.
    ///
    /// # Errors
    /// [`LedgerError`]; the cursor is none of an event.
    async fn order_events(
        &self,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<OrderEvent>, LedgerError>;

    /// Returns checkouts that were changed in the last `within_ms` or are open, for a comparison with the providers.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn recent_checkouts(&self, within_ms: i64) -> Result<Vec<CheckoutRecord>, LedgerError>;
}
