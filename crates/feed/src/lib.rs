//! Change feeds: a database's committed changes, in commit order, with nothing missing in between.
//!
//! | module | what it follows |
//! |---|---|
//! | [`postgres`] | PostgreSQL's write-ahead log, through a logical replication slot |
//! | [`postgres::debezium`] | the same, where Debezium reads it and posts its events |
//! | [`mariadb`] | MariaDB's binary log |
//! | [`sqlite`] | a change log that triggers write inside the application's own transactions |
//!
//! A [`Feed`] delivers [`Piece`]s: chained by position, at least once, and never acknowledged to
//! the database before the consumer said so. A [`Source`] asks the same database the questions that
//! are not about changes: where its log ends, who it is, and to put a [`LogMessage`] into the log.
//!
//! A feed knows nothing about caches. What a changed row means is decided by the contracts.

mod error;
mod event;
pub mod mariadb;
mod message;
mod metrics;
pub mod postgres;
pub mod sqlite;
mod tracked;
mod turns;

use std::sync::Arc;

use async_trait::async_trait;
use coherence::Lsn;

pub use error::{FeedError, Problem, Setup};
pub use event::{Commit, FeedEvent, Identity, LogEnd, Piece, Start};
pub use mariadb::{MariaDbFeed, MariaDbOptions, MariaDbSource};
pub use message::{LogMessage, MalformedMessage};
pub use metrics::Metrics;
pub use postgres::debezium::{DebeziumFeed, DebeziumMetrics, DebeziumOptions, Inbox, Refused};
pub use postgres::{PostgresFeed, PostgresOptions, PostgresSource};
pub use sqlite::{SqliteFeed, SqliteOptions, SqliteSource};
pub use tracked::{TableName, Tracked};

/// One consumer of a database's log. It connects, and reconnects, by itself.
#[async_trait]
pub trait Feed: Send {
    /// Waits for what happens next. Dropping the future loses nothing.
    ///
    /// # Errors
    /// Only what needs a human; the text says what to do. Everything else is told as
    /// [`FeedEvent::Lost`] and retried.
    async fn next(&mut self) -> Result<FeedEvent, FeedError>;

    /// To be called after [`FeedEvent::Started`] where the consumer goes on from before: `watermark`
    /// is what a feed of this log has told earlier. Where it covers the start's position, W counts at
    /// once. Otherwise a commit before that position may still be invisible (the slot was made while
    /// it was hanging), and W stays zero until every transaction of now has ended.
    fn seen(&mut self, watermark: Lsn) {
        let _ = watermark;
    }

    /// Where the consumer stands, for a database that does not remember it. To be called before the
    /// first [`next`](Self::next).
    fn resume(&mut self, from: Arc<dyn Bookmark>) {
        let _ = from;
    }

    /// The consumer has durably applied everything up to here; the database may forget it.
    fn ack(&mut self, upto: Lsn);
}

/// How far a consumer has got.
#[async_trait]
pub trait Bookmark: Send + Sync {
    /// The log and the position up to which everything in it is durably applied. `None`: nothing is.
    ///
    /// # Errors
    /// When that can't be found out now.
    async fn applied(&self) -> Result<Option<LogEnd>, FeedError>;
}

/// Questions to the database a [`Feed`] follows, from any number of tasks and nodes.
#[async_trait]
pub trait Source: Send + Sync {
    /// The end of the log. Every commit that was acknowledged to its client before this was called
    /// lies at or below the answer.
    ///
    /// # Errors
    /// When the database can't be asked now.
    async fn log_end(&self) -> Result<LogEnd, FeedError>;

    /// Puts a request into the log, so that it has a position and passes the same fence as a
    /// commit. A tier that has applied the returned position has applied the request.
    ///
    /// # Errors
    /// When it can't be written now, or the message is larger than [`LogMessage::MAX_BYTES`].
    async fn emit(&self, message: &LogMessage) -> Result<Lsn, FeedError>;

    /// Makes the log of an idle database move on past its present end, so that a feed gets there.
    ///
    /// # Errors
    /// When it can't be written now.
    async fn nudge(&self) -> Result<(), FeedError>;

    /// Which database this is.
    ///
    /// # Errors
    /// When the database can't be asked now.
    async fn identity(&self) -> Result<Identity, FeedError>;
}
