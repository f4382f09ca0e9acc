//! The ledger in an SQLite file, in tables named `tidegate_…`, beside those of the shop if need be.
//!
//! A call is one transaction that takes the file's write lock first, and decides with the pure
//! [rules](crate::rules).

mod audit;
mod carts;
mod checkout_changes;
mod checkout_rows;
mod checkouts;
mod gifts;
mod holds;
mod job_changes;
mod jobs;
mod ledger;
mod migrate;
mod stock;
mod transaction;

pub use self::ledger::SqliteLedger;
pub use self::migrate::{migrate, pending};
