//! A stream from its start to its loss.

use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use coherence::{Chain, Link, Lsn};
use futures_util::FutureExt;
use pgwire_replication::{ReplicationClient, ReplicationEvent};
use tokio::task::unconstrained;
use tokio::time::{Instant, sleep_until};

use super::lead::{Leads, has_state, lost, lsn};
use super::options::PostgresOptions;
use super::schema_watch::SchemaWatch;
use super::server::Control;
use super::source;
use super::transaction::Assembler;
use super::visibility::Visibility;
use crate::error::FeedError;
use crate::event::{Commit, Piece};
use crate::message::LogMessage;

/// Commits in one piece at most.
const MOST_COMMITS: usize = 256;

/// Messages that are taken without a pause for anything else at most.
const MOST_EVENTS: usize = 8_192;

/// After this much silence the log is made to move; after twice that, the connection counts as
/// lost.
const SILENCE: Duration = Duration::from_secs(15);

/// No such publication, in the catalogue as it was when the change was made.
const UNDEFINED_OBJECT: &str = "42704";

/// What a stream tells; nothing more when it ended.
type Received = pgwire_replication::Result<Option<ReplicationEvent>>;

/// A stream and what has arrived on it.
pub(super) struct Session {
    options: Arc<PostgresOptions>,
    control: Arc<Control>,
    stream: ReplicationClient,
    assembler: Assembler,
    chain: Chain,
    visibility: Visibility,
    schema: SchemaWatch,
    unusable: bool,
    commits: Vec<Commit>,
    heard: Instant,
    probed: bool,
}

impl Drop for Session {
    fn drop(&mut self) {
        // A polite end could wait for a server that is not there; the slot is freed either way.
        self.stream.abort();
    }
}

impl Session {
    pub(super) fn new(options: Arc<PostgresOptions>, leads: Leads) -> Self {
        let Leads { control, stream, start, after, shape } = leads;
        Self {
            assembler: Assembler::new(&options),
            chain: Chain::starting(start.position, after),
            visibility: Visibility::new(control.clone()),
            schema: SchemaWatch::new(options.clone(), control.clone(), shape),
            unusable: false,
            options,
            control,
            stream,
            commits: Vec::new(),
            heard: Instant::now(),
            probed: false,
        }
    }

    /// Waits until the log or the watermark has moved. Dropping it loses nothing.
    pub(super) async fn next(&mut self) -> Result<Piece, FeedError> {
        loop {
            if let Some(piece) = self.piece() {
                return Ok(piece);
            }
            let quiet_until = self.heard + if self.probed { SILENCE * 2 } else { SILENCE };
            tokio::select! {
                biased;
                event = self.stream.recv() => {
                    (self.heard, self.probed) = (Instant::now(), false);
                    self.take_what_is_there(event).await?;
                }
                moved = self.visibility.next(&mut self.chain) => moved?,
                err = self.schema.changed() => return Err(err),
                () = sleep_until(quiet_until) => self.break_silence()?,
            }
        }
    }

    /// What the tables were when the stream began.
    pub(super) fn shape(&self) -> &str {
        self.schema.shape()
    }

    /// Whether the stream ended because of its slot: it begins before the publication was made (it
    /// was dropped and made again), and no later start would get past that.
    pub(super) fn slot_is_unusable(&self) -> bool {
        self.unusable
    }

    /// The consumer is done with everything up to here.
    pub(super) fn ack(&mut self, upto: Lsn) {
        self.chain.ack(upto);
        self.acknowledge();
    }

    /// See [`Feed::seen`](crate::Feed::seen).
    pub(super) fn seen(&mut self, watermark: Lsn) {
        self.chain.seen(watermark);
    }

    fn acknowledge(&self) {
        self.stream.update_applied_lsn(lsn(self.chain.forgettable()));
    }

    fn piece(&mut self) -> Option<Piece> {
        let Link { prev, upto, watermark } = self.chain.tell()?;
        self.acknowledge();
        let commits = std::mem::take(&mut self.commits);
        self.count(&commits);
        Some(Piece { prev, upto, watermark, commits })
    }

    fn count(&self, commits: &[Commit]) {
        let metrics = &self.options.metrics;
        let Some(last) = commits.last() else { return };
        metrics.commits.inc_by(commits.len() as u64);
        metrics.changes.inc_by(commits.iter().map(|commit| commit.changes.len() as u64).sum());
        let now_us = self.options.clock.wall_us() as f64;
        metrics.lag.set((now_us - last.committed_us as f64) / 1e6);
    }

    /// More that has arrived already goes into the same piece. Also looks after the watermark, which
    /// would otherwise stand still while the log never pauses.
    async fn take_what_is_there(&mut self, first: Received) -> Result<(), FeedError> {
        let before = self.commits.len();
        self.take(first)?;
        for _ in 0..MOST_EVENTS {
            if self.commits.len() >= MOST_COMMITS {
                break;
            }
            // Not after 128 of them, when Tokio would have a task pause.
            let Some(event) = unconstrained(self.stream.recv()).now_or_never() else { break };
            self.take(event)?;
        }
        if self.commits.len() > before {
            // Both connections are to one life of the server.
            self.visibility.recall(&mut self.chain);
            self.visibility.hurry();
        }
        tokio::select! {
            biased;
            moved = self.visibility.next(&mut self.chain) => moved,
            () = ready(()) => Ok(()),
        }
    }

    fn take(&mut self, event: Received) -> Result<(), FeedError> {
        let ended = || FeedError::unavailable("following the log", "the server ended the stream");
        if let Err(err) = &event {
            self.unusable = has_state(err, UNDEFINED_OBJECT);
        }
        match event.map_err(lost)?.ok_or_else(ended)? {
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
                    self.chain.commit(end, xid);
                    self.commits.push(commit);
                }
                self.chain.progress(end);
            }
            // All that was committed before it has been sent before it, but of a transaction that
            // is on its way the server may count what it has not sent.
            ReplicationEvent::KeepAlive { wal_end, .. } if !self.assembler.is_open() => {
                self.chain.progress(Lsn(wal_end.as_u64()));
            }
            _ => {}
        }
        Ok(())
    }

    /// A dead connection and an idle database look the same until the database is made to speak.
    fn break_silence(&mut self) -> Result<(), FeedError> {
        if self.probed {
            let complaint = "nothing arrived, although the log moves";
            return Err(FeedError::unavailable("following the log", complaint));
        }
        self.probed = true;
        let control = self.control.clone();
        // If it fails, silence goes on, and counts as a loss.
        tokio::spawn(async move { source::nudge(&control).await });
        Ok(())
    }
}
