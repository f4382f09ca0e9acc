//! Beats: rows that the node writes into the table for requests and that the relay has to deliver.

use std::sync::Arc;
use std::time::Duration;

use coherence::Lsn;
use coherence::binlog_relay::LogHeartbeat;
use database::mariadb::Connection;
use tokio::time::{Instant, sleep_until};

use crate::background_query::BackgroundQuery;
use crate::error::FeedError;
use crate::mariadb::log::{self, BEAT_PREFIX};
use crate::mariadb::log_file::has_change_at;
use crate::mariadb::position::BinlogPosition;

/// Writes a beat at intervals, over a connection of its own: a commit may wait long for a replica.
pub(super) struct BeatWriter {
    connection: Arc<Connection>,
    database: Arc<str>,
    interval: Duration,
    nonce: u64,
    next_at: Instant,
    write: BackgroundQuery<Written>,
}

/// The result of writing a beat.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Written {
    /// No beat has come back yet.
    Unverified,
    /// The last beat that has come back is where the relay says.
    Verified,
    /// It is not: the relay reads another log.
    Elsewhere(Lsn),
}

impl BeatWriter {
    /// `nonce` identifies this writer's beats. `database`: the one with the table for requests.
    pub(super) fn new(
        connection: Arc<Connection>,
        database: &str,
        interval: Duration,
        nonce: u64,
    ) -> Self {
        let (next_at, write) = (Instant::now(), BackgroundQuery::new("writing a beat"));
        Self { connection, database: database.into(), interval, nonce, next_at, write }
    }

    /// Waits until the next beat is written. `returned`: the position of the last one that has come back, which is
    /// compared with the log. Cancel safe.
    pub(super) async fn next(&mut self, returned: Option<Lsn>) -> Result<Written, FeedError> {
        if !self.write.is_running() {
            sleep_until(self.next_at).await;
            let (connection, database) = (self.connection.clone(), self.database.clone());
            let nonce = self.nonce;
            self.write.start(async move {
                let position = returned.map(BinlogPosition::of);
                let verified = match position {
                    Some(position) => has_change_at(&connection, position).await?,
                    None => false,
                };
                if let Some(elsewhere) = returned.filter(|_| !verified) {
                    return Ok(Written::Elsewhere(elsewhere));
                }
                let (after, last) = log::last_transactions(&connection).await?;
                let text = encode(nonce, after.lsn(), &last);
                log::append(&connection, &database, &text).await?;
                Ok(if verified { Written::Verified } else { Written::Unverified })
            });
        }
        let written = self.write.result().await;
        self.next_at = Instant::now() + self.interval;
        written
    }
}

/// Returns the text of a beat. `last`: the last transactions before it, separated by commas.
fn encode(nonce: u64, after: Lsn, last: &str) -> String {
    format!("{BEAT_PREFIX}{nonce:016x} {after} {last}")
}

/// Parses a beat.
pub(super) fn decode(text: &str) -> Option<LogHeartbeat> {
    let mut parts = text.strip_prefix(BEAT_PREFIX)?.split(' ');
    let nonce = u64::from_str_radix(parts.next()?, 16).ok()?;
    let after = parts.next()?.parse().ok()?;
    let last = parts.next()?.split(',').filter(|id| !id.is_empty());
    let last = last.map(str::parse).collect::<Result<_, _>>().ok()?;
    Some(LogHeartbeat { nonce, after, last })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beat_survives_the_log() {
        let after = Lsn(2 << 32 | 342);
        for (text, ids) in [("", vec![]), ("0-1-42,3-7-9", vec!["0-1-42", "3-7-9"])] {
            let last = ids.iter().map(|id| id.parse().expect("an id")).collect();
            let beat = LogHeartbeat { nonce: 7, after, last };
            assert_eq!(decode(&encode(7, after, text)), Some(beat));
        }
        for text in ["", "{}", BEAT_PREFIX, "tidegate.beat 7 0/1", "tidegate.beat 7 0/1 x"] {
            assert_eq!(decode(text), None, "{text}");
        }
    }
}
