//! Checks of the ledger's history against the records of others: the requests and answers of clients, and the ledger
//! of a payment provider. All of them are pure.
//!
//! The checks of the database alone are queries ([`Ledger::audit`](crate::ledger::Ledger::audit)). The
//! [catalogue](Promise) maps all of them to the 27 invariants of a sale.

mod acknowledged;
mod catalogue;
mod clients;
mod exchange;
mod keys;
mod money;
mod provider;
mod sold_out;

pub use self::catalogue::{Evidence, PROMISES, Promise};
pub use self::clients::{ClientOptions, check_clients};
pub use self::exchange::{Exchange, read_exchanges};
pub use self::money::check_money;
pub use self::provider::{ProviderLedger, ProviderOperation, ProviderRecord};
