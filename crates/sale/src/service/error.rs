//! Errors of the sale.

use std::sync::Arc;

use thiserror::Error;

use super::lanes::NoOutcome;
use crate::checkout_id::CheckoutId;
use crate::hold_id::HoldId;
use crate::ledger::{EndRefusal, GiftRefusal, LedgerError, StockRefusal};
use crate::payment::WebhookRefusal;
use crate::request::{CartId, InvalidRequest};
use crate::rules::{
    Cell, GrantRefusal, HoldEnd, HoldRefusal, Phase, Price, QuoteRefusal, Shortage,
};

/// Why a request was not executed. Only after [`Ledger`](Self::Ledger) it may have been: repeat it with its key.
#[derive(Clone, Debug, Error)]
pub enum SaleError {
    /// A value can't be accepted.
    #[error(transparent)]
    Invalid(#[from] InvalidRequest),
    /// There is not enough stock for these lines.
    #[error("there is not enough stock")]
    SoldOut(Vec<Shortage>),
    /// The customer would exceed the limit of these lines.
    #[error("the customer's limit would be exceeded")]
    CustomerLimit(Vec<Shortage>),
    /// There is no stock record of a SKU at a location.
    #[error("there is no stock record of {:?} at {:?}", .0.sku, .0.location)]
    UnknownCell(Cell),
    /// There is no stock record of a SKU.
    #[error("there is no stock record of {0:?}")]
    UnknownSku(String),
    /// There is no hold of that name.
    #[error("there is no hold {0}")]
    UnknownHold(HoldId),
    /// The hold has ended.
    #[error("the hold has ended: it is {}", .0.word())]
    HoldEnded(HoldEnd),
    /// The hold was extended before.
    #[error("the hold was extended before, and a hold is extended once")]
    ExtendedBefore,
    /// Holds and sales need more units than would be on hand.
    #[error("holds and sales need these units; {free} could be taken away now")]
    Committed {
        /// The greatest number by which the units on hand may be lowered now.
        free: i64,
    },
    /// There is no cart of that name.
    #[error("there is no cart {0}; create it with PUT /v1/carts/{0}")]
    UnknownCart(CartId),
    /// The cart has another version than the client has seen.
    #[error(
        "the cart has changed: it has the version {version}; read it again, and send If-Match with the version \
         that the customer has seen"
    )]
    CartChanged {
        /// The present version.
        version: i64,
    },
    /// The cart is being paid.
    #[error(
        "the cart is being paid by the checkout {0}; ask for its end, or put more into another cart"
    )]
    CartInCheckout(CheckoutId),
    /// The cart has its order.
    #[error("the cart has its order; take another name for the next cart")]
    CartOrdered(Option<CheckoutId>),
    /// The cart has no lines.
    #[error("the cart has no lines to pay for")]
    CartEmpty,
    /// There is no checkout or order of that name.
    #[error("there is no checkout or order {0}")]
    UnknownCheckout(CheckoutId),
    /// The hold has another price.
    #[error("the price of the hold is {0}; show it to the customer, and pay that amount")]
    PriceChanged(Price),
    /// The hold has no price.
    #[error("{}", unpriced(.0))]
    Unpriced(QuoteRefusal),
    /// Another payment of the hold is open, or has an order.
    #[error("the hold has the checkout {0} with another payment")]
    CheckoutExists(CheckoutId),
    /// Too many payments of the hold were declined.
    #[error("too many payments of this hold were declined; take a new hold")]
    TooManyPayments,
    /// Another node works on the checkout.
    #[error("the order is being changed; repeat the request with its key")]
    CheckoutBusy,
    /// The order's state does not allow it.
    #[error("the order is {}", .0.word())]
    OrderState(Phase),
    /// The amount is too large, or not positive.
    #[error("the amount is not 1 to {most}")]
    AmountTooLarge {
        /// The greatest amount.
        most: i64,
    },
    /// An event was refused.
    #[error(transparent)]
    Webhook(WebhookRefusal),
    /// A gift card does not pay, or was not issued.
    #[error("{}", gift_problem(.0))]
    Gift(GiftRefusal),
    /// The key stands for another request.
    #[error("the idempotency key was used for another request; use a new key for each request")]
    KeyReused,
    /// A request with this key is being executed.
    #[error("a request with this idempotency key is being executed; repeat it for its answer")]
    KeyInFlight,
    /// Too many requests wait.
    #[error("too many requests wait for the ledger")]
    Overloaded,
    /// The ledger did not answer.
    #[error("the ledger gave no answer; repeat the request with its key: {0}")]
    Ledger(Arc<LedgerError>),
    /// The process ends.
    #[error("the process ends; repeat the request with its key")]
    Stopped,
}

impl From<NoOutcome> for SaleError {
    fn from(none: NoOutcome) -> Self {
        match none {
            NoOutcome::Overloaded => Self::Overloaded,
            NoOutcome::Ledger(err) => Self::Ledger(err),
            NoOutcome::Stopped => Self::Stopped,
        }
    }
}

impl From<LedgerError> for SaleError {
    fn from(err: LedgerError) -> Self {
        Self::Ledger(Arc::new(err))
    }
}

impl From<GrantRefusal> for SaleError {
    fn from(refusal: GrantRefusal) -> Self {
        match refusal {
            GrantRefusal::UnknownCell(cell) => Self::UnknownCell(cell),
            GrantRefusal::SoldOut(lines) => Self::SoldOut(lines),
            GrantRefusal::CustomerLimit(lines) => Self::CustomerLimit(lines),
        }
    }
}

impl From<StockRefusal> for SaleError {
    fn from(refusal: StockRefusal) -> Self {
        match refusal {
            StockRefusal::UnknownCell(cell) => Self::UnknownCell(cell),
            StockRefusal::Committed { free } => Self::Committed { free },
        }
    }
}

impl SaleError {
    /// Returns the error of a hold that was not changed.
    pub(super) fn of_hold(hold: HoldId, refusal: EndRefusal) -> Self {
        match refusal {
            EndRefusal::Unknown => Self::UnknownHold(hold),
            EndRefusal::Hold(HoldRefusal::Ended(end)) => Self::HoldEnded(end),
            EndRefusal::Hold(HoldRefusal::ExtendedBefore) => Self::ExtendedBefore,
            // Only a node asks for an expiry, never a client.
            EndRefusal::Hold(HoldRefusal::NotDue) => {
                LedgerError::Unreadable(format!("the hold {hold} is not due")).into()
            }
        }
    }

    /// Returns the kind of the problem: a stable word.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "invalid-request",
            Self::SoldOut(_) => "sold-out",
            Self::CustomerLimit(_) => "customer-limit",
            Self::UnknownCell(_) | Self::UnknownSku(_) => "unknown-stock",
            Self::UnknownHold(_) => "unknown-hold",
            Self::HoldEnded(_) => "hold-ended",
            Self::ExtendedBefore => "extended-before",
            Self::Committed { .. } => "stock-committed",
            Self::UnknownCart(_) => "unknown-cart",
            Self::CartChanged { .. } => "cart-changed",
            Self::CartInCheckout(_) => "cart-in-checkout",
            Self::CartOrdered(_) => "cart-ordered",
            Self::CartEmpty => "cart-empty",
            Self::UnknownCheckout(_) => "unknown-order",
            Self::PriceChanged(_) => "price-changed",
            Self::Unpriced(_) => "unpriced",
            Self::CheckoutExists(_) => "checkout-exists",
            Self::TooManyPayments => "too-many-payments",
            Self::CheckoutBusy => "request-in-flight",
            Self::OrderState(_) => "order-state",
            Self::AmountTooLarge { .. } => "amount-too-large",
            Self::Webhook(_) => "webhook-refused",
            Self::Gift(GiftRefusal::Unknown) => "unknown-gift-card",
            Self::Gift(GiftRefusal::Exists) => "gift-card-exists",
            Self::Gift(GiftRefusal::Currency) => "gift-card-currency",
            Self::Gift(GiftRefusal::Short { .. }) => "gift-card-short",
            Self::KeyReused => "idempotency-key-reused",
            Self::KeyInFlight => "request-in-flight",
            Self::Overloaded => "overloaded",
            Self::Ledger(_) | Self::Stopped => "ledger-unavailable",
        }
    }
}

fn gift_problem(refusal: &GiftRefusal) -> String {
    match refusal {
        GiftRefusal::Unknown => "there is no gift card with this code".to_owned(),
        GiftRefusal::Exists => "a gift card has this code already; take another code".to_owned(),
        GiftRefusal::Currency => "the gift card has another currency than the order".to_owned(),
        GiftRefusal::Short { available } => {
            format!("the gift card has {available} left; pay the rest in another way")
        }
    }
}

fn unpriced(refusal: &QuoteRefusal) -> String {
    match refusal {
        QuoteRefusal::Unpriced(sku) => {
            format!(
                "{sku:?} had no price when it was held; set one with PUT /v1/stock/{{sku}}, and hold again"
            )
        }
        QuoteRefusal::Currencies(one, other) => {
            format!("the lines have prices in {one} and {other}; hold them apart")
        }
        QuoteRefusal::TooLarge => "the sum of the prices is out of range".to_owned(),
    }
}
