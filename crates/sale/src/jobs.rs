//! The work behind the sale: jobs in the ledger's database.
//!
//! A job of a configured kind is enqueued by a request, by a schedule, by an event of an order in the order's transaction,
//! or by the shop's own SQL. Workers lease it: a node that calls the shop's endpoint, or programs that ask for work. The
//! rules are [`step_job`](crate::rules::step_job).

mod endpoint;
mod error;
mod handler;
mod metrics;
mod options;
mod reading;
mod request;
mod runner;
mod service;
mod upkeep;

pub use self::error::JobError;
pub use self::handler::{JobHandler, JobResult};
pub use self::metrics::JobMetrics;
pub use self::options::{JobOptions, JobWorkers, check_kinds};
pub(crate) use self::request::{JOB_BYTES_MAX, JOB_SECONDS_MAX, UNIQUE_BYTES_MAX};
pub use self::request::{JobRequest, LEASES};
pub(crate) use self::service::CLAIM_MAX;
pub use self::service::{Jobs, JobsSetup};
