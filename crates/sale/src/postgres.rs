//! The ledger in PostgreSQL, in its schema `tidegate`.
//!
//! Each call is one statement: a function of the schema, which locks, decides and writes where the data is. No lock
//! waits for a node. Batches in which everything fits are written by one statement of the function; the others are
//! decided in turn. Of a batch of checkouts, one statement records all for which everything is in order.

mod audit;
mod batches;
mod carts;
mod checkout_batches;
mod checkouts;
mod client;
mod gifts;
mod grant;
mod jobs;
mod ledger;
mod migrate;
mod stock;
mod uuid;

pub use self::ledger::PostgresLedger;
pub use self::migrate::{migrate, pending};
