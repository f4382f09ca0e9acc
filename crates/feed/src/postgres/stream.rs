//! The replication stream: a task reads ahead, another one acknowledges.

use std::time::Duration;

use coherence::{History, Lsn};
use database::DatabaseError;
use database::postgres::{
    Address, ConnectConfig, LogReader, LogWriter, ReplicationConnection, TEXT_SETTINGS,
    startup_options,
};
use database::quoting::{identifier, literal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::assembler::CommitAssembler;
use super::connection::TIMEOUT;
use super::log_message::{StreamMessage, standby_status};
use super::options::PostgresOptions;
use super::transport::{LogEvent, LogStream};
use crate::error::FeedError;
use crate::message::LogMessage;

/// The least interval between two acknowledgements to the server. A server that shuts down waits for
/// the last one.
const STATUS_INTERVAL: Duration = Duration::from_millis(100);

/// The longest interval. A server with a short `wal_sender_timeout` hears from a node that is busy.
const LONGEST_STATUS_INTERVAL: Duration = Duration::from_secs(1);

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
    messages: LogMessages,
    assembler: CommitAssembler,
    slot_is_unusable: bool,
}

impl PostgresStream {
    pub(super) fn new(messages: LogMessages, options: &PostgresOptions) -> Self {
        Self { messages, assembler: CommitAssembler::new(options), slot_is_unusable: false }
    }

    /// Whether the slot has ended the stream: it starts before the publication was created (the
    /// publication was dropped and created again), so every later start would fail there too.
    pub(super) fn slot_is_unusable(&self) -> bool {
        self.slot_is_unusable
    }

    fn assemble(&mut self, message: StreamMessage) -> LogEvent {
        match message {
            StreamMessage::Begin { xid, commit_time_us } => {
                self.assembler.begin(xid, commit_time_us);
            }
            StreamMessage::Change(data) => self.assembler.change(&data),
            StreamMessage::Logical { transactional: true, prefix, content }
                if prefix == LogMessage::PREFIX =>
            {
                self.assembler.message(&content);
            }
            StreamMessage::Commit { end } => {
                return LogEvent::Commit { end, commit: self.assembler.commit(end) };
            }
            // Every commit before a keepalive was sent before it. Inside an open transaction, though,
            // the server may count changes that it has not sent.
            StreamMessage::KeepAlive { end, .. } if !self.assembler.is_open() => {
                return LogEvent::Progress(end);
            }
            _ => {}
        }
        LogEvent::Part
    }
}

impl LogStream for PostgresStream {
    async fn receive(&mut self) -> Result<LogEvent, FeedError> {
        let ended = || FeedError::unavailable(OPERATION, "the server ended the stream");
        match self.messages.received.recv().await.ok_or_else(ended)? {
            Ok(message) => Ok(self.assemble(message)),
            Err(LogError::Database(err)) => {
                self.slot_is_unusable = err.has_state(UNDEFINED_OBJECT);
                Err(err.into())
            }
            Err(LogError::Malformed) => {
                Err(FeedError::Malformed("a message of the replication stream".to_owned()))
            }
        }
    }

    fn confirm(&self, upto: Lsn) {
        self.messages.applied.send_if_modified(|applied| {
            let advances = upto > *applied;
            *applied = upto.max(*applied);
            advances
        });
    }
}

/// Why the messages have ended.
enum LogError {
    Database(DatabaseError),
    Malformed,
}

/// The messages of a started stream. The tasks behind them, and so the connection, end on drop.
pub(super) struct LogMessages {
    received: mpsc::Receiver<Result<StreamMessage, LogError>>,
    applied: watch::Sender<Lsn>,
    tasks: [JoinHandle<()>; 2],
}

impl LogMessages {
    fn of(reader: LogReader, writer: LogWriter) -> Self {
        let (sender, received) = mpsc::channel(READ_AHEAD);
        let (applied, acknowledged) = watch::channel(Lsn(0));
        let (requested, requests) = watch::channel(());
        let tasks = [
            tokio::spawn(read(reader, sender, requested)),
            tokio::spawn(acknowledge(writer, acknowledged, requests)),
        ];
        Self { received, applied, tasks }
    }
}

impl Drop for LogMessages {
    fn drop(&mut self) {
        // A graceful end might wait for a dead server; the slot is released either way.
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Reads messages until the stream ends. While the consumer is busy, nothing is read and the server waits.
async fn read(
    mut reader: LogReader,
    sender: mpsc::Sender<Result<StreamMessage, LogError>>,
    requested: watch::Sender<()>,
) {
    loop {
        let message = match reader.receive().await {
            Ok(Some(bytes)) => StreamMessage::parse(&bytes).ok_or(LogError::Malformed),
            Ok(None) => return,
            Err(err) => Err(LogError::Database(err)),
        };
        if matches!(message, Ok(StreamMessage::KeepAlive { wants_reply: true, .. })) {
            requested.send_replace(());
        }
        let is_end = message.is_err();
        if sender.send(message).await.is_err() || is_end {
            return;
        }
    }
}

/// Tells the server the applied position: soon after it has changed, and at once when the server asks.
async fn acknowledge(
    mut writer: LogWriter,
    mut applied: watch::Receiver<Lsn>,
    mut requests: watch::Receiver<()>,
) {
    loop {
        let upto = *applied.borrow_and_update();
        // The reader reports a lost connection.
        if writer.send(&standby_status(upto)).await.is_err() {
            return;
        }
        tokio::select! {
            requested = requests.changed() => if requested.is_err() { return },
            () = next_status(&mut applied) => {}
        }
    }
}

/// Waits until the next status is due without a request.
async fn next_status(applied: &mut watch::Receiver<Lsn>) {
    sleep(STATUS_INTERVAL).await;
    let rest = LONGEST_STATUS_INTERVAL - STATUS_INTERVAL;
    let _ = timeout(rest, applied.changed()).await;
}

/// A started stream, and the identity of its server.
pub(super) struct Started {
    pub(super) messages: LogMessages,
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
    let settings = format!("{} {TIME_ZONE}", startup_options(&TEXT_SETTINGS));
    let mut connection =
        config.connect_to_log(address, &settings, "tidegate-feed", TIMEOUT).await?;
    let timeline = identify_timeline(&mut connection).await?;
    let history = match timeline {
        // The first timeline has no history.
        0 | 1 => History::default(),
        timeline => read_history(&mut connection, timeline).await,
    };
    let command = format!(
        "START_REPLICATION SLOT {} LOGICAL 0/0 (proto_version '1', publication_names {}, messages 'true')",
        options.slot,
        literal(&identifier(&options.publication)),
    );
    match connection.start(&command).await {
        Ok((reader, writer)) => {
            Ok(Some(Started { messages: LogMessages::of(reader, writer), timeline, history }))
        }
        Err(err) if err.has_state(OBJECT_IN_USE) => Ok(None),
        Err(err) => Err(err.into()),
    }
}

async fn identify_timeline(connection: &mut ReplicationConnection) -> Result<u32, FeedError> {
    let rows = connection.query("IDENTIFY_SYSTEM").await?;
    let timeline = rows.first().and_then(|row| row.get(1)?.as_deref()?.parse().ok());
    timeline.ok_or_else(|| FeedError::Malformed(format!("the system: {rows:?}")))
}

/// Without its history, a promotion is no successor of the claimed database, and waits until the claim expires.
async fn read_history(connection: &mut ReplicationConnection, timeline: u32) -> History {
    match connection.query(&format!("TIMELINE_HISTORY {timeline}")).await {
        Ok(rows) => {
            let file = rows.first().and_then(|row| row.get(1)?.as_deref());
            parse_history(file.unwrap_or_default())
        }
        Err(err) => {
            tracing::warn!(error = %err, timeline, "the server does not tell its history");
            History::default()
        }
    }
}

/// Parses a timeline's history file: a line for each earlier timeline, with the position at which it was left.
fn parse_history(file: &str) -> History {
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
    };
    file.lines().filter_map(line).collect()
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
