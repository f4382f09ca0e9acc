//! Handlers of kinds of jobs.

use async_trait::async_trait;

use crate::ledger::LeasedJob;

/// The result of a job.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum JobResult {
    /// It succeeded.
    Done,
    /// It failed, and another attempt may succeed.
    Failed(String),
    /// It failed, as other jobs would now: the service that it needs is not well. Too many of these pause the kind on this
    /// node.
    Unwell(String),
    /// It failed, and other attempts would fail, too: it is a dead letter.
    Hopeless(String),
}

impl JobResult {
    /// Returns a failure as one of the service.
    pub(super) fn unwell(self) -> Self {
        match self {
            Self::Failed(reason) => Self::Unwell(reason),
            other => other,
        }
    }
}

/// A handler of a kind of jobs. A job may be run again, so its effects need its number as an idempotency key.
#[async_trait]
pub trait JobHandler: Send + Sync + 'static {
    /// Runs jobs, at most as many as a batch of the kind. Returns a result for each. It is dropped when a lease is lost.
    async fn run(&self, jobs: &[LeasedJob]) -> Vec<JobResult>;
}
