//! Beats: numbered messages that the node appends to the log and that the relay has to deliver.

use std::sync::Arc;
use std::time::Duration;

use coherence::Lsn;
use database::postgres::Connection;
use tokio::time::{Instant, sleep_until};

use crate::background_query::BackgroundQuery;
use crate::error::FeedError;
use crate::postgres::log;

/// Appends a beat at intervals.
pub(super) struct BeatWriter {
    connection: Arc<Connection>,
    interval: Duration,
    nonce: u64,
    next_number: u64,
    next_at: Instant,
    write: BackgroundQuery<Lsn>,
}

impl BeatWriter {
    /// `nonce` identifies this writer's beats. Number 0 has been written already.
    pub(super) fn new(connection: Arc<Connection>, interval: Duration, nonce: u64) -> Self {
        let (next_at, write) = (Instant::now() + interval, BackgroundQuery::new("writing a beat"));
        Self { connection, interval, nonce, next_number: 1, next_at, write }
    }

    /// Waits until the next beat is written. Cancel safe.
    pub(super) async fn next(&mut self) -> Result<(), FeedError> {
        if !self.write.is_running() {
            sleep_until(self.next_at).await;
            let (connection, text) =
                (self.connection.clone(), encode(self.nonce, self.next_number));
            self.write.start(async move { log::emit_beat(&connection, &text).await });
        }
        let written = self.write.result().await;
        self.next_number += 1;
        self.next_at = Instant::now() + self.interval;
        written.map(drop)
    }
}

/// Returns the text of a beat.
pub(super) fn encode(nonce: u64, number: u64) -> String {
    format!("{nonce:016x} {number}")
}

/// Parses the nonce and number of a beat.
pub(super) fn decode(content: &[u8]) -> Option<(u64, u64)> {
    let (nonce, number) = std::str::from_utf8(content).ok()?.split_once(' ')?;
    Some((u64::from_str_radix(nonce, 16).ok()?, number.parse().ok()?))
}
