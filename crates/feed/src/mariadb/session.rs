//! A stream from its start to its loss.

use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use coherence::{Advance, StreamCursor};
use database::DatabaseError;
use database::mariadb::Connection;
use tokio::time::{Instant, sleep_until};

use super::assembler::{CommitAssembler, GroupState};
use super::options::MariaDbOptions;
use super::parser::{Event, RawEvent, parse};
use super::position::BinlogPosition;
use super::stream::{Stream, is_position_lost};
use super::visibility::VisibilityProbe;
use crate::error::FeedError;
use crate::event::{Commit, Identity, LogBatch, MAX_COMMITS_PER_BATCH, StreamStart};

/// After this much silence the connection counts as lost: an idle server sends a heartbeat five times
/// a second.
const SILENCE_LIMIT: Duration = Duration::from_secs(15);

/// The offset of the first event of a file.
const FIRST_OFFSET: u32 = 4;

const OPERATION: &str = "following the log";

/// A started stream.
pub(super) struct AcquiredStream {
    pub(super) connection: Arc<Connection>,
    pub(super) stream: Stream,
    pub(super) start: StreamStart,
    pub(super) position: BinlogPosition,
    pub(super) identity: Identity,
}

/// A stream, and the commits that have arrived on it.
pub(super) struct Session {
    options: Arc<MariaDbOptions>,
    stream: Stream,
    assembler: CommitAssembler,
    cursor: StreamCursor,
    visibility: VisibilityProbe,
    /// The end of the last handled event.
    position: BinlogPosition,
    /// Whether a group of events is open.
    in_group: bool,
    commits: Vec<Commit>,
    last_received: Instant,
    position_is_unusable: bool,
}

impl Session {
    pub(super) fn new(
        options: Arc<MariaDbOptions>,
        database: &str,
        acquired: AcquiredStream,
    ) -> Self {
        let AcquiredStream { connection, stream, start, position, identity } = acquired;
        let mut cursor = StreamCursor::starting(start.position, u64::MAX);
        // Every commit before the start position was visible when it was chosen.
        cursor.restore_watermark(start.position);
        Self {
            assembler: CommitAssembler::new(&options, database),
            cursor,
            visibility: VisibilityProbe::new(connection, options.server.clone(), identity),
            options,
            stream,
            position,
            in_group: false,
            commits: Vec::new(),
            last_received: Instant::now(),
            position_is_unusable: false,
        }
    }

    /// Waits until the log or the watermark has advanced. Cancel safe.
    pub(super) async fn next(&mut self) -> Result<LogBatch, FeedError> {
        loop {
            if let Some(batch) = self.take_batch() {
                return Ok(batch);
            }
            if self.assembler.has_altered_table() {
                let reason = "a table was altered; its setup is checked again";
                return Err(FeedError::unavailable(OPERATION, reason));
            }
            tokio::select! {
                biased;
                event = self.stream.next() => {
                    self.handle(event)?;
                    self.handle_available().await?;
                }
                advanced = self.visibility.next(&mut self.cursor) => advanced?,
                () = sleep_until(self.last_received + SILENCE_LIMIT) => {
                    return Err(FeedError::unavailable(OPERATION, "no event or heartbeat arrived"));
                }
            }
        }
    }

    /// Whether every later start from the same position would fail like this stream.
    pub(super) fn position_is_unusable(&self) -> bool {
        self.position_is_unusable
    }

    fn take_batch(&mut self) -> Option<LogBatch> {
        let Advance { prev, upto, watermark } = self.cursor.take_advance()?;
        let commits = std::mem::take(&mut self.commits);
        Commit::record(&commits, &self.options.metrics, &*self.options.clock);
        Some(LogBatch { prev, upto, watermark, commits })
    }

    /// Adds the events that have already arrived to the same batch. Also polls the watermark, which
    /// would otherwise not advance while the log never pauses.
    async fn handle_available(&mut self) -> Result<(), FeedError> {
        while self.commits.len() < MAX_COMMITS_PER_BATCH && !self.assembler.has_altered_table() {
            let Some(event) = self.stream.try_next() else { break };
            self.handle(event)?;
        }
        tokio::select! {
            biased;
            advanced = self.visibility.next(&mut self.cursor) => advanced,
            () = ready(()) => Ok(()),
        }
    }

    fn handle(&mut self, event: Result<RawEvent, DatabaseError>) -> Result<(), FeedError> {
        self.last_received = Instant::now();
        let raw = event.inspect_err(|err| self.position_is_unusable = is_position_lost(err))?;
        let event = parse(&raw);
        match &event {
            Some(Event::Rotate { file }) => {
                if raw.is_in_log() && raw.end > 0 {
                    self.advance_to(self.position.with_offset(raw.end))?;
                    self.cursor.progress(self.position.lsn());
                }
                // The next file's name is sent again at its start.
                let first = position(file, FIRST_OFFSET)?;
                let is_current = first == self.position.with_offset(FIRST_OFFSET);
                return if is_current { Ok(()) } else { self.advance_to(first) };
            }
            Some(Event::Heartbeat { file }) => {
                if !self.in_group && raw.end > 0 {
                    self.advance_to(position(file, raw.end)?)?;
                    self.cursor.progress(self.position.lsn());
                }
                return Ok(());
            }
            _ if !raw.is_in_log() => return Ok(()),
            _ => {}
        }
        if raw.end > 0 {
            self.advance_to(self.position.with_offset(raw.end))?;
        }
        let end = self.position.lsn();
        match self.assembler.handle(&raw, event, end) {
            GroupState::Open => self.in_group = true,
            GroupState::Ended(commit) => {
                self.in_group = false;
                if let Some(commit) = commit {
                    if raw.end == 0 {
                        return Err(FeedError::Malformed("a commit without a position".into()));
                    }
                    self.cursor.commit(end, 0);
                    self.visibility.expedite();
                    self.commits.push(commit);
                }
                self.cursor.progress(end);
            }
        }
        Ok(())
    }

    /// A position never moves back within one log.
    fn advance_to(&mut self, position: BinlogPosition) -> Result<(), FeedError> {
        if position < self.position {
            self.position_is_unusable = true;
            let reason = "the log was reset, or one of its files is larger than 4 GiB";
            return Err(FeedError::unavailable(OPERATION, reason));
        }
        self.position = position;
        Ok(())
    }
}

fn position(file: &str, offset: u32) -> Result<BinlogPosition, FeedError> {
    let position = BinlogPosition::new(file.trim_end_matches('\0'), u64::from(offset));
    position.ok_or_else(|| FeedError::Malformed(format!("a file named {file:?}")))
}
