//! The ledger's history, for checks against the records of clients and providers. Times are in ms since 1970 by
//! the database's clock.

use std::collections::{BTreeMap, BTreeSet};

/// All holds, movements, checkouts and keys, in one snapshot.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct History {
    /// Holds by name.
    pub holds: BTreeMap<String, HoldRow>,
    /// Movements in the order in which they were recorded within a SKU.
    pub movements: Vec<MovementRow>,
    /// Checkouts by name.
    pub checkouts: BTreeMap<String, CheckoutRow>,
    /// The idempotency keys of requests that had an effect. One that is older than a day may be missing.
    pub keys: BTreeSet<String>,
}

/// A hold.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HoldRow {
    /// The customer.
    pub customer: String,
    /// `active`, `confirmed`, `cancelled` or `expired`.
    pub state: String,
    /// When it was granted.
    pub at_ms: i64,
    /// The idempotency key of its request; empty: it has no line.
    pub key: String,
}

/// A change of the counters of a cell.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MovementRow {
    /// Its number, ascending within a SKU.
    pub id: i64,
    /// The SKU.
    pub sku: String,
    /// The location.
    pub location: String,
    /// When.
    pub at_ms: i64,
    /// The kind: a word of the schema.
    pub kind: String,
    /// The change of the units on hand.
    pub on_hand: i64,
    /// The change of the units of active holds.
    pub held: i64,
    /// The change of the units sold.
    pub sold: i64,
    /// The idempotency key of the cause; empty: there is none.
    pub key: String,
    /// The hold; empty: none.
    pub hold: String,
}

/// A checkout.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CheckoutRow {
    /// The hold.
    pub hold: String,
    /// The phase: a word of the state machine.
    pub phase: String,
    /// A node has work to do.
    pub is_open: bool,
    /// There is an order, perhaps a cancelled one.
    pub ordered: bool,
    /// The price, in minor units.
    pub amount: i64,
    /// The part of the price that a gift card pays.
    pub gift: i64,
    /// The currency of the price.
    pub currency: String,
    /// The amount taken.
    pub captured: i64,
    /// The amount given back.
    pub refunded: i64,
    /// Ascends with each change.
    pub version: i64,
}
