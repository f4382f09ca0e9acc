//! A stream of posted events from its start to its loss.

use std::future::ready;
use std::sync::Arc;

use coherence::binlog_relay::{BinlogMessage, BinlogStatus, BinlogStep, OtherLog};
use coherence::{Advance, BinlogRelay, Lsn, StreamCursor};
use database::mariadb::Connection;
use tokio::sync::mpsc;

use super::beats::{BeatWriter, Written};
use super::changes::PendingChanges;
use super::options::DebeziumOptions;
use super::parser::{EventPosition, Message, RowEvent};
use super::tables::Tables;
use crate::debezium::{Acknowledgements, PostedBody, PostedSession};
use crate::error::FeedError;
use crate::event::{Commit, Identity, LogBatch, MAX_COMMITS_PER_BATCH, StreamStart};
use crate::mariadb::visibility::VisibilityProbe;

const OPERATION: &str = "following posted events";

/// A stream that may start.
pub(super) struct AcquiredStream {
    pub(super) connection: Arc<Connection>,
    /// Writes the beats.
    pub(super) beats: Arc<Connection>,
    pub(super) start: StreamStart,
    pub(super) relay: BinlogRelay,
    pub(super) nonce: u64,
    pub(super) tables: Tables,
    pub(super) identity: Identity,
}

/// A stream, and the changes that have arrived on it.
pub(super) struct Session {
    options: Arc<DebeziumOptions>,
    identity: Identity,
    relay: BinlogRelay,
    cursor: StreamCursor,
    visibility: VisibilityProbe,
    beats: BeatWriter,
    changes: PendingChanges,
    acknowledgements: Acknowledgements,
    is_of_other_log: bool,
    /// Whether the relay's positions are those of this log, as far as beats have come back.
    is_verified: bool,
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
            if self.changes.is_outdated() {
                let reason = "a table may have been altered; its setup is checked again";
                return Err(FeedError::unavailable(OPERATION, reason));
            }
            tokio::select! {
                biased;
                body = posted.recv() => self.handle(body.ok_or_else(closed)?)?,
                advanced = self.visibility.next(&mut self.cursor) => advanced?,
                written = self.beats.next(self.relay.heartbeat()) => self.beat_written(written?)?,
            }
            while self.changes.len() < MAX_COMMITS_PER_BATCH && !self.changes.is_outdated() {
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
                written = self.beats.next(self.relay.heartbeat()) => self.beat_written(written?)?,
                () = ready(()) => {}
            }
        }
    }

    fn ack(&mut self) {
        self.acknowledgements.send();
    }

    fn resume_watermark(&mut self, watermark: Lsn) {
        self.cursor.restore_watermark(watermark);
    }
}

impl Session {
    /// `database`: the one in the URL.
    pub(super) fn new(
        options: Arc<DebeziumOptions>,
        database: &str,
        acquired: AcquiredStream,
    ) -> Self {
        let AcquiredStream { connection, beats, start, relay, nonce, tables, identity } = acquired;
        let server = options.log.server.clone();
        Self {
            cursor: StreamCursor::starting(start.position, u64::MAX),
            visibility: VisibilityProbe::new(connection, server, identity.clone()),
            beats: BeatWriter::new(beats, database, options.beat_interval, nonce),
            changes: PendingChanges::new(&options.log, database, tables),
            options,
            identity,
            relay,
            acknowledgements: Acknowledgements::default(),
            is_of_other_log: false,
            is_verified: false,
        }
    }

    /// Returns the log, and how far it was relayed.
    pub(super) fn state(&self) -> (&Identity, &BinlogRelay) {
        (&self.identity, &self.relay)
    }

    /// Whether the stream ended because its positions are those of another log.
    pub(super) fn is_of_other_log(&self) -> bool {
        self.is_of_other_log
    }

    fn beat_written(&mut self, written: Written) -> Result<(), FeedError> {
        match written {
            Written::Unverified => Ok(()),
            Written::Verified => {
                if !std::mem::replace(&mut self.is_verified, true) {
                    tracing::info!(source = %self.options.log.source, "Debezium now delivers current events");
                }
                Ok(())
            }
            Written::Elsewhere(at) => {
                let reason = format!(
                    "the log has no beat at {at}: the relay reads another server, such as a replica"
                );
                Err(self.other_log(reason))
            }
        }
    }

    /// Ends the stream: positions so far may have been of another log.
    fn other_log(
        &mut self,
        reason: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> FeedError {
        self.is_of_other_log = true;
        self.options.metrics.gaps.inc();
        FeedError::unavailable(OPERATION, reason)
    }

    fn take_batch(&mut self) -> Option<LogBatch> {
        let advanced = self.cursor.take_advance();
        if advanced.is_none() && self.changes.len() == 0 {
            // The bodies so far hold nothing to apply.
            self.acknowledgements.deliver();
            self.acknowledgements.send();
            return None;
        }
        let Advance { prev, upto, watermark } = advanced.unwrap_or_else(|| self.cursor.published());
        self.acknowledgements.deliver();
        let commits = self.changes.take();
        Commit::record(&commits, &self.options.log.metrics, &*self.options.log.clock);
        Some(LogBatch { prev, upto, watermark, commits })
    }

    fn handle(&mut self, body: PostedBody<Message>) -> Result<(), FeedError> {
        for message in body.messages {
            if let Err(reason) = self.handle_message(message) {
                return Err(self.other_log(reason));
            }
        }
        self.acknowledgements.hold(body.applied);
        Ok(())
    }

    fn handle_message(&mut self, message: Message) -> Result<(), OtherLog> {
        match message {
            Message::Ignored => {}
            Message::Begin { id } => {
                self.step(BinlogMessage::Begin { id })?;
            }
            Message::End { id, count } => {
                let status = self.step(BinlogMessage::End { id, count })?;
                if status == BinlogStatus::Repeated {
                    self.options.metrics.repeated.inc();
                }
            }
            Message::Row { ordinal, position, row } => self.handle_row(ordinal, position, &row)?,
            Message::Statement { position, statement } => {
                let EventPosition { id, at, committed_us } = position;
                if self.step(BinlogMessage::Statement { id, at })? == BinlogStatus::New {
                    self.changes.add_statement(&statement, at, committed_us);
                }
            }
        }
        Ok(())
    }

    /// Takes a message. Before its own effect, changes that are missing take theirs.
    fn step(&mut self, message: BinlogMessage) -> Result<BinlogStatus, OtherLog> {
        let BinlogStep { missing, status } = self.relay.step(message)?;
        if let Some((at, missing)) = missing {
            let source = &self.options.log.source;
            tracing::warn!(%source, reason = %missing, "changes are missing, so everything counts as changed");
            self.options.metrics.gaps.inc();
            self.changes.add_everything(at);
        }
        if let BinlogStatus::Complete(at) = status
            && self.is_verified
        {
            self.cursor.commit(at, 0);
            self.visibility.expedite();
        }
        Ok(status)
    }

    fn handle_row(
        &mut self,
        ordinal: u64,
        position: EventPosition,
        row: &RowEvent,
    ) -> Result<(), OtherLog> {
        let EventPosition { id, at, committed_us } = position;
        let heartbeat = self.changes.heartbeat(row);
        let message = BinlogMessage::Row { id, ordinal, at, heartbeat };
        if self.step(message)? == BinlogStatus::New {
            self.changes.add_row(row, at, committed_us);
        }
        Ok(())
    }
}
