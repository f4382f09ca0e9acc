//! Events of a feed.

use std::sync::Arc;

use coherence::{Clock, History, Log, Lsn, server_digest};
use contract::RowChange;

use crate::error::FeedError;
use crate::message::LogMessage;
use crate::metrics::Metrics;
use crate::schema::Schema;

/// A batch holds at most about this many commits.
pub(crate) const MAX_COMMITS_PER_BATCH: usize = 256;

/// One committed transaction, restricted to the tracked tables.
#[derive(Clone, Debug, PartialEq)]
pub struct Commit {
    /// Its end position.
    pub lsn: Lsn,
    /// Commit time by the database's clock, in µs since 1970-01-01 UTC.
    pub committed_us: u64,
    /// Its row changes, in execution order.
    pub changes: Vec<RowChange>,
    /// Its log messages.
    pub messages: Vec<LogMessage>,
}

impl Commit {
    /// Records delivered commits.
    pub(crate) fn record(commits: &[Self], metrics: &Metrics, clock: &dyn Clock) {
        let Some(last) = commits.last() else { return };
        metrics.commits.inc_by(commits.len() as u64);
        metrics.changes.inc_by(commits.iter().map(|commit| commit.changes.len() as u64).sum());
        metrics.lag.set((clock.wall_us() as f64 - last.committed_us as f64) / 1e6);
    }
}

/// A range of the log without gaps: every commit in `(prev, upto]`.
///
/// Batches form a chain by position: `prev` is the `upto` of the batch before; the first one starts at
/// [`StreamStart::position`]. A batch without commits advances the position or the watermark.
#[derive(Clone, Debug, PartialEq)]
pub struct LogBatch {
    /// The chain's position before this batch.
    pub prev: Lsn,
    /// The chain's position after it.
    pub upto: Lsn,
    /// W: every commit up to here is visible to every new snapshot. It may lie before the commits of
    /// this batch: they are not held back until they are visible.
    pub watermark: Lsn,
    /// In commit order.
    pub commits: Vec<Commit>,
}

/// The start, or restart after a loss, of a stream.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StreamStart {
    /// The database's identity: a digest of its system and of the database in it (PostgreSQL:
    /// `system_identifier` and the database's OID).
    pub system: u64,
    /// Its timeline; grows with each promotion. On SQLite, a digest of the file and its log.
    pub timeline: u32,
    /// Set if the slot or change log was created for this stream, and identifies it. The stream does
    /// not cover earlier commits.
    pub slot_generation: Option<u64>,
    /// Every commit after this position will be delivered.
    pub position: Lsn,
    /// When the server started; then, after a space, when it last restarted after a crash. In its own formats, only
    /// for comparison. Empty on SQLite, which has no server.
    pub server_started: String,
    /// The server provably neither restarted nor crashed since this feed was last connected, so no
    /// delivered commit can have been lost. False on the first connection.
    pub unbroken: bool,
    /// The timelines before this one, each with the position at which it was left; empty where the database
    /// does not tell.
    pub history: History,
    /// The schema under which the stream is complete; `None` if it is not followed. A stream ends when the
    /// schema changes.
    pub schema: Option<Arc<Schema>>,
}

/// An event of a feed.
#[derive(Debug)]
pub enum FeedEvent {
    /// The stream starts; positions form a new chain from here.
    Started(StreamStart),
    /// The log or the watermark advanced.
    Batch(LogBatch),
    /// Another node follows the log: this one waits and takes over by itself. Reported once per wait.
    Standby,
    /// The connection was lost; the feed reconnects.
    Lost(FeedError),
}

/// The end of a log. Positions are comparable only within one log, so the result identifies the log:
/// after a failover another server responds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LogEnd {
    /// See [`StreamStart::system`].
    pub system: u64,
    /// See [`StreamStart::timeline`].
    pub timeline: u32,
    /// The digest of the start of the server ([`Log::run`](coherence::Log::run)).
    pub server: u64,
    /// Its end.
    pub lsn: Lsn,
}

/// A sample of a database's log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LogSample {
    /// Its end.
    pub end: LogEnd,
    /// The digest of the schema; `None` if it is not followed.
    pub schema: Option<u64>,
}

/// A database's identity.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Identity {
    /// See [`StreamStart::system`].
    pub system: u64,
    /// See [`StreamStart::timeline`].
    pub timeline: u32,
    /// See [`StreamStart::server_started`].
    pub server_started: String,
}

impl Identity {
    /// Returns the log, as samples of the database name it.
    #[must_use]
    pub fn log(&self) -> Log {
        let server = server_digest(&self.server_started);
        Log { system: self.system, timeline: self.timeline, server }.run()
    }
}

impl LogEnd {
    /// Returns the log that this is the end of.
    #[must_use]
    pub fn log(&self) -> Log {
        Log { system: self.system, timeline: self.timeline, server: self.server }
    }
}
