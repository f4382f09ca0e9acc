//! A stream of posted events from its start to its loss.

use std::future::ready;
use std::sync::Arc;

use coherence::relay::{self, RelayMessage, RelayStatus};
use coherence::{Advance, Lsn, Relay, StreamCursor};
use contract::RowChange;
use database::postgres::Connection;
use tokio::sync::mpsc;

use super::assembler::OpenTransaction;
use super::beats::{self, BeatWriter};
use super::options::DebeziumOptions;
use super::parser::{Content, Event, Message};
use super::row::Tables;
use crate::debezium::{Acknowledgements, PostedBody, PostedSession};
use crate::error::FeedError;
use crate::event::{Commit, LogBatch, MAX_COMMITS_PER_BATCH, StreamStart};
use crate::message::LogMessage;
use crate::postgres::log::BEAT_PREFIX;
use crate::postgres::primary::PostgresPrimary;
use crate::postgres::schema::DigestStatement;
use crate::postgres::schema_watch::SchemaWatch;
use crate::postgres::visibility::VisibilityProbe;

const OPERATION: &str = "following posted events";

/// A stream that may start.
pub(super) struct AcquiredStream {
    pub(super) connection: Arc<Connection>,
    pub(super) start: StreamStart,
    pub(super) relay: Relay,
    pub(super) nonce: u64,
    pub(super) tables: Tables,
    /// A transaction id that was assigned before any event of the stream was taken.
    pub(super) after: u64,
    /// The statement for the digest of the stream's schema.
    pub(super) statement: DigestStatement,
}

/// A stream, and the commits that have arrived on it.
pub(super) struct Session {
    options: Arc<DebeziumOptions>,
    tables: Tables,
    relay: Relay,
    cursor: StreamCursor,
    visibility: VisibilityProbe<PostgresPrimary>,
    schema: SchemaWatch<PostgresPrimary>,
    beats: BeatWriter,
    open: OpenTransaction,
    /// Changes of the open transaction that have not been delivered yet.
    early: Vec<RowChange>,
    early_us: u64,
    commits: Vec<Commit>,
    acknowledgements: Acknowledgements,
    has_gap: bool,
}

impl PostedSession for Session {
    type Message = Message;

    async fn next(
        &mut self,
        posted: &mut mpsc::Receiver<PostedBody<Message>>,
    ) -> Result<LogBatch, FeedError> {
        let closed = || FeedError::unavailable(OPERATION, "the inbox is closed");
        loop {
            if let Some(batch) = self.take_batch() {
                return Ok(batch);
            }
            tokio::select! {
                biased;
                err = self.schema.changed() => return Err(err),
                body = posted.recv() => self.handle(body.ok_or_else(closed)?)?,
                advanced = self.visibility.next(&mut self.cursor) => advanced?,
                written = self.beats.next() => written?,
            }
            while self.commits.len() < MAX_COMMITS_PER_BATCH && self.early.is_empty() {
                let Ok(body) = posted.try_recv() else { break };
                self.handle(body)?;
            }
            // Otherwise the watermark and the beats would not advance while events never pause.
            tokio::select! {
                biased;
                advanced = self.visibility.next(&mut self.cursor) => advanced?,
                () = ready(()) => {}
            }
            tokio::select! {
                biased;
                written = self.beats.next() => written?,
                () = ready(()) => {}
            }
        }
    }

    fn resume_watermark(&mut self, watermark: Lsn) {
        self.cursor.restore_watermark(watermark);
    }

    fn ack(&mut self) {
        self.acknowledgements.send();
    }
}

impl Session {
    pub(super) fn new(options: Arc<DebeziumOptions>, acquired: AcquiredStream) -> Self {
        let AcquiredStream { connection, start, relay, nonce, tables, after, statement } = acquired;
        let digest = start.schema.as_ref().map(|schema| schema.digest());
        let primary = PostgresPrimary { connection: connection.clone(), schema: statement };
        let primary = Arc::new(primary);
        Self {
            cursor: StreamCursor::starting(start.position, after),
            visibility: VisibilityProbe::new(primary.clone()),
            schema: SchemaWatch::new(primary, digest),
            beats: BeatWriter::new(connection, options.beat_interval, nonce),
            options,
            tables,
            relay,
            open: OpenTransaction::default(),
            early: Vec::new(),
            early_us: 0,
            commits: Vec::new(),
            acknowledgements: Acknowledgements::default(),
            has_gap: false,
        }
    }

    /// Whether a gap has ended the stream.
    pub(super) fn has_gap(&self) -> bool {
        self.has_gap
    }

    fn take_batch(&mut self) -> Option<LogBatch> {
        let advanced = self.cursor.take_advance();
        if advanced.is_none() && self.early.is_empty() {
            // The pending bodies hold nothing to apply.
            self.acknowledgements.deliver();
            self.acknowledgements.send();
            return None;
        }
        let advance = advanced.unwrap_or_else(|| self.cursor.published());
        let Advance { prev, upto, watermark } = advance;
        self.acknowledgements.deliver();
        let mut commits = std::mem::take(&mut self.commits);
        Commit::record(&commits, &self.options.metrics, &*self.options.clock);
        let changes = std::mem::take(&mut self.early);
        if !changes.is_empty() {
            let (lsn, committed_us) = (advance.next_position(), self.early_us);
            commits.push(Commit { lsn, committed_us, changes, messages: Vec::new() });
        }
        Some(LogBatch { prev, upto, watermark, commits })
    }

    fn handle(&mut self, body: PostedBody<Message>) -> Result<(), FeedError> {
        for message in body.messages {
            if let Err(gap) = self.handle_message(message) {
                self.has_gap = true;
                self.options.debezium_metrics.gaps.inc();
                return Err(FeedError::unavailable(OPERATION, gap));
            }
        }
        self.acknowledgements.hold(body.applied);
        Ok(())
    }

    fn handle_message(&mut self, message: Message) -> Result<(), relay::RelayGap> {
        match message {
            Message::Ignored => {}
            Message::Snapshot => {
                self.relay.step(RelayMessage::Snapshot)?;
            }
            Message::Begin { xid } => {
                self.relay.step(RelayMessage::Begin { xid })?;
            }
            Message::NonTransactional { at } => {
                self.relay.step(RelayMessage::NonTransactional { at })?;
            }

            Message::Event(event) => self.handle_event(event)?,
            Message::End { xid, end, count } => {
                let was_confirmed = self.relay.is_confirmed();
                match self.relay.step(RelayMessage::End { xid, end, count })? {
                    RelayStatus::Complete => {
                        if self.relay.is_confirmed() && !was_confirmed {
                            tracing::info!(source = %self.options.source, position = %end, "Debezium now delivers current events");
                        }
                        self.commit(xid, end);
                    }
                    RelayStatus::Repeated => {
                        self.options.debezium_metrics.repeated.inc();
                        self.open.discard(xid);
                    }
                    _ => self.open.discard(xid),
                }
            }
        }
        Ok(())
    }

    fn handle_event(&mut self, event: Event) -> Result<(), relay::RelayGap> {
        let Event { xid, ordinal, after, committed_us, content } = event;
        let beat = match &content {
            Content::Message { prefix, content } if prefix == BEAT_PREFIX => beats::decode(content),
            _ => None,
        };
        let status =
            self.relay.step(RelayMessage::Event { xid, ordinal, after, heartbeat: beat })?;
        let RelayStatus::Pending { is_new } = status else { return Ok(()) };
        self.open.resume(xid, committed_us);
        let (source, metrics) = (&self.options.source, &self.options.metrics);
        match content {
            Content::Row(row) => {
                let Some((change, parsed)) = self.tables.change(&row) else { return Ok(()) };
                if !parsed {
                    metrics.malformed.inc();
                    tracing::error!(
                        %source,
                        table = %row.table,
                        "a row of an event can't be parsed; its whole table counts as changed. \
                         See Debezium's required settings in docs/sources.md"
                    );
                }
                if is_new {
                    self.early.push(change.clone());
                    self.early_us = committed_us;
                }
                if self.open.add_change(change, self.options.max_changes) {
                    metrics.oversized.inc();
                }
            }
            Content::Message { prefix, content } if prefix == LogMessage::PREFIX => {
                let keys = &self.options.message_keys;
                if let Some(message) = keys.read(&content, committed_us, source, metrics) {
                    self.open.add_message(message);
                }
            }
            Content::Message { .. } => {}
        }
        Ok(())
    }

    /// Completes a transaction that has arrived as a whole.
    fn commit(&mut self, xid: u32, end: Lsn) {
        // Also a transaction without tracked changes: W passes it when it is visible.
        self.cursor.commit(end, xid);
        self.visibility.expedite();
        self.early.clear();
        self.commits.extend(self.open.commit(xid, end, &self.options.source));
    }
}
