//! Detection of changes that the log does not contain.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::transport::Primary;
use crate::background_query::BackgroundQuery;
use crate::error::FeedError;

const INTERVAL: Duration = Duration::from_secs(2);

const OPERATION: &str = "checking the tables";

/// Compares the [fingerprint](Primary::fingerprint) of the tracked tables at intervals.
pub(super) struct SchemaWatch<P> {
    primary: Arc<P>,
    fingerprint: String,
    query: BackgroundQuery<String>,
    query_at: Instant,
}

impl<P: Primary> SchemaWatch<P> {
    pub(super) fn new(primary: Arc<P>, fingerprint: String) -> Self {
        let (query, query_at) = (BackgroundQuery::new(OPERATION), Instant::now() + INTERVAL);
        Self { primary, fingerprint, query, query_at }
    }

    /// Returns the fingerprint at the start of the stream.
    pub(super) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Waits until the fingerprint differs. Cancel safe.
    pub(super) async fn changed(&mut self) -> FeedError {
        loop {
            if !self.query.is_running() {
                sleep_until(self.query_at).await;
                let primary = self.primary.clone();
                self.query.start(async move { primary.fingerprint().await });
            }
            let fingerprint = self.query.result().await;
            self.query_at = Instant::now() + INTERVAL;
            match fingerprint {
                Ok(fingerprint) if fingerprint == self.fingerprint => {}
                Ok(_) => {
                    let change =
                        "a table or the publication was altered; everything counts as changed";
                    return FeedError::unavailable(OPERATION, change);
                }
                Err(err) => return err,
            }
        }
    }
}
