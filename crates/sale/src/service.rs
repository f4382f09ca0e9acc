//! The operations on stock and holds.
//!
//! Requests for the same SKUs that arrive while a call to the ledger is under way wait and go into the next call
//! together ([`lanes`]). A request that finds no call under way starts one at once.

mod calls;
mod checkout;
mod early;
mod error;
mod expiry;
mod keys;
mod lanes;
mod ledger_access;
mod metrics;
mod sale;
mod sweeper;

pub use self::checkout::{Difference, Payments, Reconciliation, reconcile};
pub use self::error::SaleError;
pub use self::metrics::SaleMetrics;
pub use self::sale::{HoldReceipt, Sale};
