//! Detection of an altered schema while a stream runs.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::transport::Primary;
use crate::background_query::BackgroundQuery;
use crate::error::FeedError;

/// As often as nodes sample the log: their samples prove nothing until the stream has noticed too.
const INTERVAL: Duration = Duration::from_millis(250);

const OPERATION: &str = "checking the schema";

/// Compares the [digest](Primary::schema_digest) of the schema at intervals.
pub(super) struct SchemaWatch<P> {
    primary: Arc<P>,
    /// The digest at the start of the stream; `None` if the schema is not followed.
    digest: Option<u64>,
    query: BackgroundQuery<u64>,
    query_at: Instant,
}

impl<P: Primary> SchemaWatch<P> {
    pub(super) fn new(primary: Arc<P>, digest: Option<u64>) -> Self {
        let (query, query_at) = (BackgroundQuery::new(OPERATION), Instant::now() + INTERVAL);
        Self { primary, digest, query, query_at }
    }

    /// Waits until the digest differs. Cancel safe.
    pub(super) async fn changed(&mut self) -> FeedError {
        let Some(start) = self.digest else { return std::future::pending().await };
        loop {
            if !self.query.is_running() {
                sleep_until(self.query_at).await;
                let primary = self.primary.clone();
                self.query.start(async move { primary.schema_digest().await });
            }
            let digest = self.query.result().await;
            self.query_at = Instant::now() + INTERVAL;
            match digest {
                Ok(digest) if digest == start => {}
                Ok(_) => {
                    let change = "a definition that contracts depend on was altered";
                    return FeedError::unavailable(OPERATION, change);
                }
                Err(err) => return err,
            }
        }
    }
}
