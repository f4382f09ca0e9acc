//! The sale: stock, holds that never oversell, and orders that are paid once.
//!
//! The **ledger** in the database is the truth: units of each SKU and location, holds, and movements that are only
//! added. A hold is durable before it is acknowledged. [`Sale`] merges concurrent requests for the same SKUs into
//! one call to the ledger, each with its own answer. A checkout pays for a hold by a stored state machine, which any node
//! resumes.
//!
//! | module | content |
//! |---|---|
//! | [`rules`] | the rules of stock and holds, pure |
//! | [`ledger`] | the port of the ledger, with its requests and outcomes |
//! | [`postgres`], [`sqlite`] | the ledgers |
//! | [`jobs`] | the work behind: jobs, their workers, their endpoints |
//! | [`payment`] | the port of payment providers, and the providers |
//! | [`request`] | requests, checked |
//! | [`http`] | the API |
//! | [`audit`] | the checks of the ledger against the records of clients and of a payment provider |
//!
//! ```no_run
//! # async fn example(clock: std::sync::Arc<dyn coherence::Clock>) -> Result<(), Box<dyn std::error::Error>> {
//! use sale::request::{HoldRequest, IdempotencyKey};
//! use sale::{Sale, SaleMetrics, SaleOptions};
//!
//! let url = "postgres://shop@127.0.0.1:5432/shop".parse()?;
//! let options = SaleOptions::new(url);
//! options.migrate().await?;
//! let metrics = SaleMetrics::new(&mut prometheus_client::registry::Registry::default());
//! let sale = Sale::new(options.open().await?, clock, metrics)
//!     .with_early_refusals(options.early_refusals);
//! let request = HoldRequest::new("customer 1", [("A".to_owned(), None, 1)], None)?;
//! let held = sale.hold(request, &IdempotencyKey::new("a key of this request")?).await?;
//! sale.confirm(held.hold, &IdempotencyKey::new("another key")?).await?;
//! # Ok(())
//! # }
//! ```

pub mod audit;
mod cart_columns;
mod checkout_columns;
mod checkout_id;
mod history_query;
mod hold_id;
pub mod http;
mod invariants;
mod job_columns;
mod job_invariants;
pub mod jobs;
mod lane;
pub mod ledger;
mod options;
pub mod payment;
mod policy_columns;
pub mod postgres;
pub mod request;
pub mod rules;
mod schema;
mod service;
pub mod sqlite;

pub use self::checkout_id::CheckoutId;
pub use self::hold_id::{HoldId, InvalidHoldId};
pub use self::lane::Lane;
pub use self::options::{EARLY_REFUSALS, SaleOptions};
pub use self::schema::{Migration, Pending, SchemaError};
pub use self::service::{
    Difference, HoldReceipt, Payments, Reconciliation, Sale, SaleError, SaleMetrics, reconcile,
};
