//! Errors of jobs.

use std::sync::Arc;

use thiserror::Error;

use crate::ledger::LedgerError;
use crate::request::InvalidRequest;

/// Why a request about jobs was not executed.
#[derive(Clone, Debug, Error)]
pub enum JobError {
    /// A value can't be accepted.
    #[error(transparent)]
    Invalid(#[from] InvalidRequest),
    /// There is no such kind.
    #[error("there is no kind of jobs {0:?}; add [jobs.{0}] to the configuration of the nodes")]
    UnknownKind(String),
    /// A node calls the endpoint of this kind.
    #[error(
        "jobs of {0:?} are sent to their url by the nodes; remove url from [jobs.{0}] to take them by requests"
    )]
    HasEndpoint(String),
    /// The kind is being drained.
    #[error("jobs of {0:?} are being drained; `tidegate jobs resume {0}` accepts new ones")]
    Draining(String),
    /// Too many jobs are open.
    #[error(
        "{open} jobs are open, and new ones of this class are refused from {limit} on; repeat the request later"
    )]
    Busy {
        /// The open jobs of all kinds.
        open: u64,
        /// The limit of the class.
        limit: u64,
    },
    /// The key stands for another request.
    #[error("the idempotency key was used for another job; use a new key for each job")]
    KeyReused,
    /// The worker has lost the lease.
    #[error(
        "this worker does not have the lease of job {id} with token {token}: {state}; drop the work"
    )]
    LeaseLost {
        /// The number of the job.
        id: i64,
        /// The worker's token.
        token: u32,
        /// The recorded end.
        state: &'static str,
    },
    /// There is no such attempt.
    #[error("there is no leased job {id} with token {token}, or it ended some time ago")]
    UnknownJob {
        /// The number of the job.
        id: i64,
        /// The worker's token.
        token: u32,
    },
    /// The ledger did not answer.
    #[error("the ledger gave no answer; repeat the request: {0}")]
    Ledger(Arc<LedgerError>),
}

impl From<LedgerError> for JobError {
    fn from(err: LedgerError) -> Self {
        Self::Ledger(Arc::new(err))
    }
}
