//! Answers to questions.

use serde::Serialize;

use crate::hold_id::HoldId;
use crate::rules::{Demand, HoldState, Policy, Stock};

/// The stock of a SKU.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SkuStock {
    /// The policy.
    pub policy: Policy,
    /// The limit for each customer.
    pub customer_limit: Option<i64>,
    /// The stock at each location, by name.
    pub locations: Vec<CellStock>,
}

/// The stock of a SKU at a location.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CellStock {
    /// The location.
    pub location: String,
    /// The counters.
    pub stock: Stock,
}

/// A hold.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HoldView {
    /// Its name.
    pub id: HoldId,
    /// The customer.
    pub customer: String,
    /// Its state by the database's clock: past its deadline it has expired.
    pub state: HoldState,
    /// Its deadline, in ms since 1970 by the database's clock.
    pub deadline_ms: i64,
    /// Its lines.
    pub lines: Vec<Demand>,
}

/// Counts of all SKUs together.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct LedgerStatus {
    /// The version of the schema.
    pub schema: u32,
    /// SKUs.
    pub skus: i64,
    /// Units on hand.
    pub on_hand: i64,
    /// Units of active holds.
    pub held: i64,
    /// Units of confirmed holds.
    pub sold: i64,
    /// Active holds.
    pub active_holds: i64,
    /// Active holds that are past their deadlines.
    pub due_holds: i64,
    /// Age of the oldest of these past its deadline, in ms; 0 without one.
    pub oldest_due_ms: i64,
    /// Idempotency keys that are kept.
    pub keys: i64,
    /// Checkouts on which nodes work, or which wait for a provider.
    pub open_checkouts: i64,
    /// Age of the oldest of these, in ms; 0 without one.
    pub oldest_checkout_ms: i64,
    /// Orders, cancelled ones included.
    pub orders: i64,
}

/// A broken invariant.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Finding {
    /// The invariant.
    pub invariant: &'static str,
    /// The SKU, hold or key.
    pub subject: String,
    /// The figures.
    pub detail: String,
    /// The repair.
    pub repair: &'static str,
}
