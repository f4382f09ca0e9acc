//! A stream from its start to its loss.

use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use coherence::{Advance, Lsn, StreamCursor};
use database::postgres::Connection;
use futures_util::FutureExt;
use pgwire_replication::{ReplicationClient, ReplicationEvent};
use tokio::task::unconstrained;
use tokio::time::{Instant, sleep_until};

use super::assembler::CommitAssembler;
use super::log;
use super::options::PostgresOptions;
use super::schema_watch::SchemaWatch;
use super::stream::{client_lsn, lacks_publication, stream_error};
use super::visibility::VisibilityProbe;
use crate::error::FeedError;
use crate::event::{Commit, LogBatch, MAX_COMMITS_PER_BATCH, StreamStart};
use crate::message::LogMessage;

/// At most this many messages are taken before other work gets its turn.
const MAX_EVENTS_PER_TURN: usize = 8_192;

/// After this much silence the log is nudged; after twice as much, the connection counts as lost.
const SILENCE_LIMIT: Duration = Duration::from_secs(15);

const OPERATION: &str = "following the log";

/// A message of the stream; `None` at its end.
type Received = pgwire_replication::Result<Option<ReplicationEvent>>;

/// A started stream.
pub(super) struct AcquiredStream {
    pub(super) connection: Arc<Connection>,
    pub(super) client: ReplicationClient,
    pub(super) start: StreamStart,
    /// A transaction id that was assigned when the slot existed.
    pub(super) after: u64,
    /// The tables' [fingerprint](super::catalog::fingerprint) when the stream started.
    pub(super) fingerprint: String,
}

/// A stream, and the commits that have arrived on it.
pub(super) struct Session {
    options: Arc<PostgresOptions>,
    connection: Arc<Connection>,
    client: ReplicationClient,
    assembler: CommitAssembler,
    cursor: StreamCursor,
    visibility: VisibilityProbe,
    schema: SchemaWatch,
    slot_is_unusable: bool,
    commits: Vec<Commit>,
    last_received: Instant,
    nudged: bool,
}

impl Drop for Session {
    fn drop(&mut self) {
        // A graceful end might wait for a dead server; the slot is released either way.
        self.client.abort();
    }
}

impl Session {
    pub(super) fn new(options: Arc<PostgresOptions>, acquired: AcquiredStream) -> Self {
        let AcquiredStream { connection, client, start, after, fingerprint } = acquired;
        Self {
            assembler: CommitAssembler::new(&options),
            cursor: StreamCursor::starting(start.position, after),
            visibility: VisibilityProbe::new(connection.clone()),
            schema: SchemaWatch::new(options.clone(), connection.clone(), fingerprint),
            slot_is_unusable: false,
            options,
            connection,
            client,
            commits: Vec::new(),
            last_received: Instant::now(),
            nudged: false,
        }
    }

    /// Waits until the log or the watermark has advanced. Cancel safe.
    pub(super) async fn next(&mut self) -> Result<LogBatch, FeedError> {
        loop {
            if let Some(batch) = self.take_batch() {
                return Ok(batch);
            }
            let limit = if self.nudged { SILENCE_LIMIT * 2 } else { SILENCE_LIMIT };
            let silent_until = self.last_received + limit;
            tokio::select! {
                biased;
                event = self.client.recv() => {
                    (self.last_received, self.nudged) = (Instant::now(), false);
                    self.handle_available(event).await?;
                }
                advanced = self.visibility.next(&mut self.cursor) => advanced?,
                err = self.schema.changed() => return Err(err),
                () = sleep_until(silent_until) => self.break_silence()?,
            }
        }
    }

    /// Returns the tables' fingerprint at the start of the stream.
    pub(super) fn fingerprint(&self) -> &str {
        self.schema.fingerprint()
    }

    /// Whether the slot has ended the stream: it starts before the publication was created (the
    /// publication was dropped and created again), so every later start would fail there too.
    pub(super) fn slot_is_unusable(&self) -> bool {
        self.slot_is_unusable
    }

    /// See [`Feed::ack`](crate::Feed::ack).
    pub(super) fn ack(&mut self, upto: Lsn) {
        self.cursor.ack(upto);
        self.acknowledge();
    }

    /// See [`Feed::resume_watermark`](crate::Feed::resume_watermark).
    pub(super) fn resume_watermark(&mut self, watermark: Lsn) {
        self.cursor.restore_watermark(watermark);
    }

    fn acknowledge(&self) {
        self.client.update_applied_lsn(client_lsn(self.cursor.confirmable()));
    }

    fn take_batch(&mut self) -> Option<LogBatch> {
        let Advance { prev, upto, watermark } = self.cursor.take_advance()?;
        self.acknowledge();
        let commits = std::mem::take(&mut self.commits);
        Commit::record(&commits, &self.options.metrics, &*self.options.clock);
        Some(LogBatch { prev, upto, watermark, commits })
    }

    /// Adds the messages that have already arrived to the same batch. Also polls the watermark, which
    /// would otherwise not advance while the log never pauses.
    async fn handle_available(&mut self, first: Received) -> Result<(), FeedError> {
        let before = self.commits.len();
        self.handle(first)?;
        for _ in 0..MAX_EVENTS_PER_TURN {
            if self.commits.len() >= MAX_COMMITS_PER_BATCH {
                break;
            }
            // Unconstrained: Tokio would make the task yield after 128 messages.
            let Some(event) = unconstrained(self.client.recv()).now_or_never() else { break };
            self.handle(event)?;
        }
        if self.commits.len() > before {
            // Valid because both connections are to the same run of the server.
            self.visibility.reapply(&mut self.cursor);
            self.visibility.expedite();
        }
        tokio::select! {
            biased;
            advanced = self.visibility.next(&mut self.cursor) => advanced,
            () = ready(()) => Ok(()),
        }
    }

    fn handle(&mut self, event: Received) -> Result<(), FeedError> {
        let ended = || FeedError::unavailable(OPERATION, "the server ended the stream");
        if let Err(err) = &event {
            self.slot_is_unusable = lacks_publication(err);
        }
        match event.map_err(stream_error)?.ok_or_else(ended)? {
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
                if let Some((commit, xid)) = self.assembler.commit(end) {
                    self.cursor.commit(end, xid);
                    self.commits.push(commit);
                }
                self.cursor.progress(end);
            }
            // Every commit before a keepalive was sent before it. Inside an open transaction, though,
            // the server may count changes that it has not sent.
            ReplicationEvent::KeepAlive { wal_end, .. } if !self.assembler.is_open() => {
                self.cursor.progress(Lsn(wal_end.as_u64()));
            }
            _ => {}
        }
        Ok(())
    }

    /// A dead connection and an idle database look the same until the database is made to write.
    fn break_silence(&mut self) -> Result<(), FeedError> {
        if self.nudged {
            let problem = "no message arrived although the log advances";
            return Err(FeedError::unavailable(OPERATION, problem));
        }
        self.nudged = true;
        let connection = self.connection.clone();
        // If it fails, the silence continues and counts as a loss.
        tokio::spawn(async move { log::nudge(&connection).await });
        Ok(())
    }
}
