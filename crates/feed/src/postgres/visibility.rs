//! W: the position up to which new snapshots show every commit, queried from the primary.

use std::sync::Arc;
use std::time::Duration;

use coherence::{Snapshot, StreamCursor};
use database::postgres::Connection;
use tokio::time::{Instant, sleep_until};

use super::transport::Primary;
use crate::background_query::BackgroundQuery;
use crate::error::FeedError;

/// The number of queries after a commit that follow without a pause: it mostly becomes visible while
/// the first ones are in flight.
const QUERIES_WITHOUT_PAUSE: u32 = 8;
/// The pauses between further queries double from the minimum to the maximum.
const MIN_PAUSE: Duration = Duration::from_millis(1);
const MAX_PAUSE: Duration = Duration::from_millis(20);

/// How long a snapshot also proves commits that arrive after it: a backlog was mostly visible before
/// it was read. The time is limited because the log holds only 32 bits of a transaction id.
const SNAPSHOT_REUSE: Duration = Duration::from_secs(10);

pub(super) const OPERATION: &str = "querying the current snapshot";

/// Queries the watermark of one stream.
pub(super) struct VisibilityProbe<P> {
    primary: Arc<P>,
    query: BackgroundQuery<Snapshot>,
    /// Queries since the last commit arrived.
    queries: u32,
    query_at: Instant,
    /// The last snapshot, and when it arrived.
    last: Option<(Instant, Snapshot)>,
}

impl<P: Primary> VisibilityProbe<P> {
    pub(super) fn new(primary: Arc<P>) -> Self {
        let query = BackgroundQuery::new(OPERATION);
        Self { primary, query, queries: 0, query_at: Instant::now(), last: None }
    }

    /// Makes the next query immediate, because a commit has arrived.
    pub(super) fn expedite(&mut self) {
        self.queries = 0;
        self.query_at = Instant::now();
    }

    /// Applies the last snapshot to the cursor again: every later snapshot shows the same commits. Only
    /// valid for commits that the queried server itself has sent. A server that has crashed since
    /// then may have assigned an id to another transaction.
    pub(super) fn reapply(&self, cursor: &mut StreamCursor) {
        if let Some((at, snapshot)) = &self.last
            && at.elapsed() < SNAPSHOT_REUSE
        {
            cursor.snapshot(snapshot);
        }
    }

    /// Waits until a snapshot has arrived and applies it to the cursor; waits forever if the cursor needs
    /// none. Cancel safe.
    pub(super) async fn next(&mut self, cursor: &mut StreamCursor) -> Result<(), FeedError> {
        if !self.query.is_running() {
            if !cursor.is_waiting() {
                return std::future::pending().await;
            }
            // A timer takes a millisecond even if its time has passed.
            if Instant::now() < self.query_at {
                sleep_until(self.query_at).await;
            }
            let primary = self.primary.clone();
            self.query.start(async move { primary.snapshot().await });
        }
        let snapshot = self.query.result().await?;
        cursor.snapshot(&snapshot);
        self.last = Some((Instant::now(), snapshot));
        self.queries = self.queries.saturating_add(1);
        self.query_at = Instant::now() + pause_after(self.queries);
        Ok(())
    }
}

fn pause_after(queries: u32) -> Duration {
    match queries.checked_sub(QUERIES_WITHOUT_PAUSE) {
        None => Duration::ZERO,
        Some(late) => (MIN_PAUSE * (1 << late.min(10))).min(MAX_PAUSE),
    }
}

/// Assigns a transaction id, which is above those of all open transactions.
pub(super) async fn assign_xid(connection: &Connection) -> Result<u64, FeedError> {
    let row = connection.row(OPERATION, "select pg_current_xact_id()::text", &[]).await?;
    let text: &str = row.get(0);
    text.parse().map_err(|_| FeedError::Malformed(format!("transaction id {text:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pause_doubles_up_to_maximum() {
        let ms = |queries| pause_after(queries).as_millis();
        assert_eq!([1, 7, 8, 9, 12, 13, 1_000_000].map(ms), [0, 0, 1, 2, 16, 20, 20]);
    }
}
