//! W: the position up to which new snapshots show every commit, queried from the database.

use std::sync::Arc;
use std::time::Duration;

use coherence::{Lsn, StreamCursor};
use database::mariadb::Connection;
use tokio::time::{Instant, sleep_until};

use super::log;
use crate::background_query::BackgroundQuery;
use crate::error::FeedError;

/// The pauses between queries for a commit double from the minimum to the maximum. Each query blocks
/// commits briefly.
const MIN_PAUSE: Duration = Duration::from_millis(1);
const MAX_PAUSE: Duration = Duration::from_millis(20);

/// The interval between queries when no commit is pending: a silent connection loses the lock.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(2);

/// Queries the watermark of one stream.
pub(super) struct VisibilityProbe {
    connection: Arc<Connection>,
    query: BackgroundQuery<Lsn>,
    pause: Duration,
    last_query: Instant,
}

impl VisibilityProbe {
    pub(super) fn new(connection: Arc<Connection>) -> Self {
        let query = BackgroundQuery::new("reading the snapshot's position");
        Self { connection, query, pause: MIN_PAUSE, last_query: Instant::now() }
    }

    /// Shortens the pause before the next query, because a commit has arrived.
    pub(super) fn expedite(&mut self) {
        self.pause = MIN_PAUSE;
    }

    /// Waits until the database has responded, and applies the position to the cursor. Cancel safe.
    pub(super) async fn next(&mut self, cursor: &mut StreamCursor) -> Result<(), FeedError> {
        if !self.query.is_running() {
            let pause = if cursor.is_waiting() { self.pause } else { KEEPALIVE_INTERVAL };
            // A timer takes a millisecond even if its time has passed.
            if Instant::now() < self.last_query + pause {
                sleep_until(self.last_query + pause).await;
            }
            let connection = self.connection.clone();
            self.query.start(async move { log::visible(&connection).await });
        }
        let visible = self.query.result().await;
        self.last_query = Instant::now();
        self.pause = (self.pause * 2).min(MAX_PAUSE);
        cursor.observe_visible(visible?);
        Ok(())
    }
}
