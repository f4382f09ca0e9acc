//! A query on a task of its own.

use tokio::task::JoinHandle;

use crate::error::FeedError;

/// At most one query in flight. It runs on a task of its own, so that dropping the future that waits
/// for its result does not cancel it.
pub(crate) struct BackgroundQuery<T> {
    operation: &'static str,
    task: Option<JoinHandle<Result<T, FeedError>>>,
}

impl<T> Drop for BackgroundQuery<T> {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl<T: Send + 'static> BackgroundQuery<T> {
    /// `operation` names it in errors.
    pub(crate) fn new(operation: &'static str) -> Self {
        Self { operation, task: None }
    }

    pub(crate) fn is_running(&self) -> bool {
        self.task.is_some()
    }

    pub(crate) fn start(
        &mut self,
        query: impl Future<Output = Result<T, FeedError>> + Send + 'static,
    ) {
        self.task = Some(tokio::spawn(query));
    }

    /// Waits for the running query; forever if none is running. Cancel safe.
    pub(crate) async fn result(&mut self) -> Result<T, FeedError> {
        let Some(task) = &mut self.task else { return std::future::pending().await };
        let result = task.await;
        self.task = None;
        result.unwrap_or_else(|err| Err(FeedError::unavailable(self.operation, err)))
    }
}
