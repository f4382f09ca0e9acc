//! W: the position up to which new snapshots show every commit, queried from the database.

use std::sync::Arc;
use std::time::Duration;

use coherence::{Lsn, StreamCursor};
use database::mariadb::{Connection, CurrentServer};
use tokio::time::{Instant, sleep_until};

use super::log;
use crate::background_query::BackgroundQuery;
use crate::error::FeedError;
use crate::event::Identity;

const OPERATION: &str = "reading the snapshot's position";

/// The pauses between queries for a commit double from the minimum to the maximum. Each query blocks
/// commits briefly.
const MIN_PAUSE: Duration = Duration::from_millis(1);
const MAX_PAUSE: Duration = Duration::from_millis(20);

/// The interval between queries when no commit is pending: a silent connection loses the lock. The log's identity
/// is compared as often.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(2);

/// Queries the watermark of one stream.
pub(super) struct VisibilityProbe {
    connection: Arc<Connection>,
    server: CurrentServer,
    /// The log's identity at the start of the stream.
    identity: Identity,
    last_comparison: Instant,
    query: BackgroundQuery<Lsn>,
    pause: Duration,
    last_query: Instant,
}

impl VisibilityProbe {
    pub(super) fn new(
        connection: Arc<Connection>,
        server: CurrentServer,
        identity: Identity,
    ) -> Self {
        let (query, now) = (BackgroundQuery::new(OPERATION), Instant::now());
        Self {
            connection,
            server,
            identity,
            last_comparison: now,
            query,
            pause: MIN_PAUSE,
            last_query: now,
        }
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
            let is_due = Instant::now() >= self.last_comparison + KEEPALIVE_INTERVAL;
            let identity = is_due.then(|| self.identity.clone());
            self.query.start(async move {
                let visible = log::visible(&connection).await?;
                match identity {
                    Some(identity) if log::end(&connection).await?.0 != identity => {
                        let reason = "the log was reset, or the server replicates from another one";
                        Err(FeedError::unavailable(OPERATION, reason))
                    }
                    _ => Ok(visible),
                }
            });
            if is_due {
                self.last_comparison = Instant::now();
            }
        }
        let visible = self.query.result().await;
        self.last_query = Instant::now();
        self.pause = (self.pause * 2).min(MAX_PAUSE);
        if !self.server.is_current(self.connection.server()) {
            let reason = "the address has come to lead to another server";
            return Err(FeedError::unavailable(OPERATION, reason));
        }
        cursor.observe_visible(visible?);
        Ok(())
    }
}
