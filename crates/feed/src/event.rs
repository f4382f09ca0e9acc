//! What a feed tells.

use coherence::Lsn;
use contract::RowChange;

use crate::error::FeedError;
use crate::message::LogMessage;

/// One committed transaction, as far as it concerns the tracked tables.
#[derive(Clone, Debug, PartialEq)]
pub struct Commit {
    /// Its end position.
    pub lsn: Lsn,
    /// When the database says that it committed, in µs since 1970-01-01 UTC.
    pub committed_us: u64,
    /// The rows it changed, in the order it changed them.
    pub changes: Vec<RowChange>,
    /// The requests that travelled inside it.
    pub messages: Vec<LogMessage>,
}

/// A stretch of the log with nothing missing inside: every commit in `(prev, upto]`.
///
/// Pieces form a chain by position: `prev` is the `upto` of the one before, the first one's is
/// [`Start::position`]. One without commits says that the log, or the watermark, moved on.
#[derive(Clone, Debug, PartialEq)]
pub struct Piece {
    /// Where the chain stood.
    pub prev: Lsn,
    /// Where it stands now.
    pub upto: Lsn,
    /// W: every commit up to here is visible to every snapshot taken from now on. May lie before
    /// the commits of this very piece: they are not held back until they are visible.
    pub watermark: Lsn,
    /// In commit order.
    pub commits: Vec<Commit>,
}

/// A stream began, or began again after it was lost.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Start {
    /// The database's own identity (PostgreSQL: `system_identifier`).
    pub system: u64,
    /// Its timeline; grows with each promotion. Always 1 on SQLite.
    pub timeline: u32,
    /// The slot or change log was made anew just now, and this names it. What was committed before
    /// is not known to this stream.
    pub slot_generation: Option<u64>,
    /// Every commit after this position will be delivered.
    pub position: Lsn,
    /// When the server started, or started over after a crash, in its own words; to be compared,
    /// not read. Empty on SQLite, which has no server.
    pub server_started: String,
    /// The server provably neither restarted nor crashed since this feed was last connected, so no
    /// commit that was seen can have been lost. False on the first connection.
    pub unbroken: bool,
}

/// What happened to a feed.
#[derive(Debug)]
pub enum FeedEvent {
    /// The stream begins here; positions start a new chain.
    Started(Start),
    /// The log moved.
    Piece(Piece),
    /// Another node holds the slot: this one waits and takes over by itself. Told once per wait.
    Standby,
    /// The connection was lost; it is being made again.
    Lost(FeedError),
}

/// Where a log ends. Positions can only be compared within one log, so the answer says which one
/// was asked: after a failover another server answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LogEnd {
    /// See [`Start::system`].
    pub system: u64,
    /// See [`Start::timeline`].
    pub timeline: u32,
    /// Its end.
    pub lsn: Lsn,
}

/// Which database answered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Identity {
    /// See [`Start::system`].
    pub system: u64,
    /// See [`Start::timeline`].
    pub timeline: u32,
    /// See [`Start::server_started`].
    pub server_started: String,
}
