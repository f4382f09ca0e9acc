//! A stream from its start to its loss.

use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use coherence::{Advance, Clock, Lsn, StreamCursor};
use futures_util::FutureExt;
use tokio::task::unconstrained;
use tokio::time::{Instant, sleep_until};

use super::schema_watch::SchemaWatch;
use super::transport::{LogEvent, LogStream, Primary};
use super::visibility::VisibilityProbe;
use crate::error::FeedError;
use crate::event::{Commit, LogBatch, MAX_COMMITS_PER_BATCH, StreamStart};
use crate::metrics::Metrics;

/// At most this many messages are taken before other work gets its turn.
const MAX_EVENTS_PER_TURN: usize = 8_192;

/// After this much silence the log is nudged; after twice as much, the connection counts as lost.
const SILENCE_LIMIT: Duration = Duration::from_secs(15);

const OPERATION: &str = "following the log";

/// A started stream.
pub struct AcquiredStream<S, P> {
    /// The messages of the slot.
    pub stream: S,
    /// Another connection to the same run of the server.
    pub primary: Arc<P>,
    /// The start of the stream.
    pub start: StreamStart,
    /// A transaction id that was assigned when the slot existed.
    pub after: u64,
}

/// A stream, and the commits that have arrived on it.
pub struct Session<S, P> {
    stream: S,
    primary: Arc<P>,
    cursor: StreamCursor,
    visibility: VisibilityProbe<P>,
    schema: SchemaWatch<P>,
    commits: Vec<Commit>,
    metrics: Metrics,
    clock: Arc<dyn Clock>,
    last_received: Instant,
    nudged: bool,
}

impl<S: LogStream, P: Primary> Session<S, P> {
    /// Creates the session of a stream that has just started. `clock` is for the lag metric only.
    pub fn new(acquired: AcquiredStream<S, P>, metrics: Metrics, clock: Arc<dyn Clock>) -> Self {
        let AcquiredStream { stream, primary, start, after } = acquired;
        let digest = start.schema.as_ref().map(|schema| schema.digest());
        Self {
            cursor: StreamCursor::starting(start.position, after),
            visibility: VisibilityProbe::new(primary.clone()),
            schema: SchemaWatch::new(primary.clone(), digest),
            stream,
            primary,
            commits: Vec::new(),
            metrics,
            clock,
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
                event = self.stream.receive() => {
                    (self.last_received, self.nudged) = (Instant::now(), false);
                    self.handle_available(event).await?;
                }
                advanced = self.visibility.next(&mut self.cursor) => advanced?,
                err = self.schema.changed() => return Err(err),
                () = sleep_until(silent_until) => self.break_silence()?,
            }
        }
    }

    /// Returns the messages of the slot.
    pub(super) fn stream(&self) -> &S {
        &self.stream
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
        self.stream.confirm(self.cursor.confirmable());
    }

    fn take_batch(&mut self) -> Option<LogBatch> {
        let Advance { prev, upto, watermark } = self.cursor.take_advance()?;
        self.acknowledge();
        let commits = std::mem::take(&mut self.commits);
        Commit::record(&commits, &self.metrics, &*self.clock);
        Some(LogBatch { prev, upto, watermark, commits })
    }

    /// Adds the messages that have already arrived to the same batch. Also polls the watermark, which
    /// would otherwise not advance while the log never pauses.
    async fn handle_available(
        &mut self,
        first: Result<LogEvent, FeedError>,
    ) -> Result<(), FeedError> {
        let before = self.commits.len();
        self.handle(first)?;
        for _ in 0..MAX_EVENTS_PER_TURN {
            if self.commits.len() >= MAX_COMMITS_PER_BATCH {
                break;
            }
            // Unconstrained: Tokio would make the task yield after 128 messages.
            let Some(event) = unconstrained(self.stream.receive()).now_or_never() else { break };
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

    fn handle(&mut self, event: Result<LogEvent, FeedError>) -> Result<(), FeedError> {
        match event? {
            LogEvent::Commit { end, commit } => {
                if let Some((commit, xid)) = commit {
                    self.cursor.commit(end, xid);
                    self.commits.push(commit);
                }
                self.cursor.progress(end);
            }
            LogEvent::Progress(upto) => self.cursor.progress(upto),
            LogEvent::Part => {}
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
        let primary = self.primary.clone();
        // If it fails, the silence continues and counts as a loss.
        tokio::spawn(async move { primary.nudge().await });
        Ok(())
    }
}
