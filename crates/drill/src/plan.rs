//! What will happen and when, decided before it happens: an open loop. The same seed gives the
//! same plan, and every arm of a comparison is sent the same one.

mod chance;
mod goods;
pub mod orders;
mod pace;
mod reads;
mod replay;
mod shoppers;
mod storm;

use std::time::Duration;

pub use chance::Popularity;
pub use goods::{Good, Goods};
pub use pace::Pace;
pub use reads::{Reads, ReadsError};
pub use replay::Replay;
pub use shoppers::Shoppers;
pub use storm::Storm;

use crate::page::Page;

/// Something that happens at a planned time.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Since the start of the run.
    pub at: Duration,
    /// What.
    pub what: What,
}

/// A request or a write.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// Sent to every arm at the same time.
    Request(Page),
    /// Done once, to the one database behind all arms.
    Write(Write),
}

/// A write to the shop's database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// The shop's own code sells.
    Purchase {
        /// Product id.
        product: u32,
        /// Pieces.
        quantity: u32,
    },
    /// The shop's own code takes back.
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
        /// Minor units.
        price_cents: i64,
    },
    /// The shop's own code renames a product.
    Rename {
        /// Product id.
        product: u32,
        /// The new name.
        name: String,
    },
    /// A script sets prices (product id, minor units) straight in the database, in one transaction.
    ScriptReprice(Vec<(u32, i64)>),
    /// A script adds deliveries (product id, pieces) straight in the database, in one transaction.
    ScriptDelivery(Vec<(u32, i64)>),
}

/// A plan may be endless; a run takes as much of it as it has time for. Events come in order of
/// their time.
pub type Plan = Box<dyn Iterator<Item = Event> + Send>;
