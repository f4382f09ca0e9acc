//! The events that a plan consists of.

use std::time::Duration;

use crate::page::Page;

/// An action at a planned time.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Time since the start of the run.
    pub at: Duration,
    /// The request or write.
    pub action: Action,
}

/// A request or a write.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Sent to every target at the same time.
    Request(Page),
    /// Committed once, to the one database behind all targets.
    Write(Write),
}

/// A write to the shop's database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// The shop's own code sells pieces of a product.
    Purchase {
        /// Product id.
        product: u32,
        /// Pieces.
        quantity: u32,
    },
    /// The shop's own code takes pieces back into stock.
    Return {
        /// Product id.
        product: u32,
        /// Pieces.
        quantity: u32,
    },
    /// The shop's own code sets a price.
    Reprice {
        /// Product id.
        product: u32,
        /// New price in minor units.
        price_cents: i64,
    },
    /// The shop's own code renames a product.
    Rename {
        /// Product id.
        product: u32,
        /// The new name.
        name: String,
    },
    /// A script sets prices (product id, minor units) directly in the database, in one transaction.
    ScriptReprice(Vec<(u32, i64)>),
    /// A script adds deliveries (product id, pieces) directly in the database, in one transaction.
    ScriptDelivery(Vec<(u32, i64)>),
}

/// Events in the order of their times. A plan may be endless; a run executes as much of it as fits
/// in its time.
pub type Plan = Box<dyn Iterator<Item = Event> + Send>;
