//! The replication stream.

use std::time::Duration;

use coherence::{History, Lsn};
use database::postgres::{Address, ConnectConfig, TEXT_SETTINGS, startup_options};
use pgwire_replication::{PgWireError, ReplicationClient, ReplicationConfig, ReplicationEvent};

use super::assembler::CommitAssembler;
use super::options::PostgresOptions;
use super::transport::{LogEvent, LogStream};
use crate::error::FeedError;
use crate::message::LogMessage;

/// The least interval between two acknowledgements to the server. A server that shuts down waits for
/// the last one.
const STATUS_INTERVAL: Duration = Duration::from_millis(100);

/// Messages read ahead of the consumer.
const READ_AHEAD: usize = 1_024;

/// Times arrive in UTC. The other settings on which texts depend are those of every session.
const TIME_ZONE: &str = "-c timezone=UTC";

/// SQLSTATE: the slot is active for another process.
const OBJECT_IN_USE: &str = "55006";

/// SQLSTATE: no such publication, in the catalogue as it was when the change was made.
const UNDEFINED_OBJECT: &str = "42704";

const OPERATION: &str = "following the log";

/// The messages of a replication slot, assembled into commits.
pub struct PostgresStream {
    client: ReplicationClient,
    assembler: CommitAssembler,
    slot_is_unusable: bool,
}

impl PostgresStream {
    pub(super) fn new(client: ReplicationClient, options: &PostgresOptions) -> Self {
        Self { client, assembler: CommitAssembler::new(options), slot_is_unusable: false }
    }

    /// Whether the slot has ended the stream: it starts before the publication was created (the
    /// publication was dropped and created again), so every later start would fail there too.
    pub(super) fn slot_is_unusable(&self) -> bool {
        self.slot_is_unusable
    }

    fn assemble(&mut self, event: ReplicationEvent) -> LogEvent {
        match event {
            ReplicationEvent::Begin { xid, commit_time_micros, .. } => {
                self.assembler.begin(xid, commit_time_micros);
            }
            ReplicationEvent::XLogData { data, .. } => self.assembler.change(&data),
            ReplicationEvent::Message { transactional: true, prefix, content, .. }
                if prefix == LogMessage::PREFIX =>
            {
                self.assembler.message(&content);
            }
            ReplicationEvent::Commit { end_lsn, .. } => {
                let end = Lsn(end_lsn.as_u64());
                return LogEvent::Commit { end, commit: self.assembler.commit(end) };
            }
            // Every commit before a keepalive was sent before it. Inside an open transaction, though,
            // the server may count changes that it has not sent.
            ReplicationEvent::KeepAlive { wal_end, .. } if !self.assembler.is_open() => {
                return LogEvent::Progress(Lsn(wal_end.as_u64()));
            }
            _ => {}
        }
        LogEvent::Part
    }
}

impl Drop for PostgresStream {
    fn drop(&mut self) {
        // A graceful end might wait for a dead server; the slot is released either way.
        self.client.abort();
    }
}

impl LogStream for PostgresStream {
    async fn receive(&mut self) -> Result<LogEvent, FeedError> {
        let event = self.client.recv().await;
        if let Err(err) = &event {
            self.slot_is_unusable = has_state(err, UNDEFINED_OBJECT);
        }
        let ended = || FeedError::unavailable(OPERATION, "the server ended the stream");
        let event = event.map_err(stream_error)?.ok_or_else(ended)?;
        Ok(self.assemble(event))
    }

    fn confirm(&self, upto: Lsn) {
        self.client.update_applied_lsn(pgwire_replication::Lsn::from_u64(upto.0));
    }
}

/// A started stream, and the identity of its server.
pub(super) struct Started {
    pub(super) client: ReplicationClient,
    pub(super) timeline: u32,
    /// See [`StreamStart::history`](crate::StreamStart::history).
    pub(super) history: History,
}

/// Starts streaming from the slot. Returns `None` if another process holds it.
pub(super) async fn start(
    address: &Address,
    config: &ConnectConfig,
    options: &PostgresOptions,
) -> Result<Option<Started>, FeedError> {
    let replication = ReplicationConfig::new(
        address.host.as_str(),
        config.url.user(),
        config.url.password(),
        config.url.database(),
        options.slot.as_str(),
        options.publication.as_str(),
    )
    .with_port(address.port)
    .with_status_interval(STATUS_INTERVAL)
    .with_buffer_size(READ_AHEAD)
    .with_options(format!("{} {TIME_ZONE}", startup_options(&TEXT_SETTINGS)))
    .with_application_name("tidegate-feed");
    let mut client = ReplicationClient::connect_gated(replication).await.map_err(stream_error)?;
    let system = client.identify_system().await.map_err(stream_error)?;
    let history = match system.timeline {
        // The first timeline has no history.
        0 | 1 => History::default(),
        // Without it, a promotion is no successor of the claimed database, and waits until the claim expires.
        timeline => client.timeline_history(timeline).await.map_or_else(
            |err| {
                tracing::warn!(error = %err, timeline, "the server does not tell its history");
                History::default()
            },
            |file| parse_history(&String::from_utf8_lossy(&file.content)),
        ),
    };
    client.start().await.map_err(stream_error)?;
    match client.wait_started().await {
        Ok(()) => {}
        Err(err) if has_state(&err, OBJECT_IN_USE) => return Ok(None),
        Err(err) => return Err(stream_error(err)),
    }
    Ok(Some(Started { client, timeline: system.timeline, history }))
}

/// Parses a timeline's history file: a line for each earlier timeline, with the position at which it was left.
fn parse_history(file: &str) -> History {
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
    };
    file.lines().filter_map(line).collect()
}

fn stream_error(err: PgWireError) -> FeedError {
    FeedError::unavailable(OPERATION, err)
}

fn has_state(err: &PgWireError, state: &str) -> bool {
    matches!(err, PgWireError::Server(text) if text.contains(&format!("SQLSTATE {state}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn history_lists_left_timelines() {
        let file =
            "1\t0/3000148\tno recovery target specified\n\n# a comment\n2\t16/B374D848\tat name\n";
        let expected = [(1, Lsn(0x300_0148)), (2, Lsn(0x16_B374_D848))];
        assert_eq!(*parse_history(file), expected);
        assert!(parse_history("nonsense").is_empty());
    }
}
