//! The server's side of a stream, as a [`Session`](super::Session) uses it: the messages of the slot, and
//! queries on a second connection to the same run of the server. The simulator has a server of its own.

use coherence::{Lsn, Snapshot};

use crate::error::FeedError;
use crate::event::Commit;

/// A message of the log.
#[derive(Debug)]
pub enum LogEvent {
    /// The log has arrived up to `end`, where a transaction ends.
    Commit {
        /// The end of the transaction.
        end: Lsn,
        /// The transaction and the lower 32 bits of its id; `None` if it changed no tracked table.
        commit: Option<(Commit, u32)>,
    },
    /// The log has arrived up to this position. The server sends it between transactions only.
    Progress(Lsn),
    /// A part of a transaction whose end has not arrived.
    Part,
}

/// The messages that a server sends from the slot.
pub trait LogStream: Send + 'static {
    /// Waits for the next message. Cancel safe.
    ///
    /// # Errors
    /// The stream has ended.
    fn receive(&mut self) -> impl Future<Output = Result<LogEvent, FeedError>> + Send;

    /// Tells the server that it may discard the log up to `upto`. The message may be sent later.
    fn confirm(&self, upto: Lsn);
}

/// Queries to the primary that sends the stream. An answer is valid only if it comes from the same run of
/// the server.
pub trait Primary: Send + Sync + 'static {
    /// Returns `pg_current_snapshot()`.
    ///
    /// # Errors
    /// The server has not answered.
    fn snapshot(&self) -> impl Future<Output = Result<Snapshot, FeedError>> + Send;

    /// Returns the [digest](crate::Schema::digest) of the schema that the stream started with, as it is now.
    ///
    /// # Errors
    /// The server has not answered.
    fn schema_digest(&self) -> impl Future<Output = Result<u64, FeedError>> + Send;

    /// Writes to the log, so that a live stream delivers a message.
    ///
    /// # Errors
    /// The server has not answered.
    fn nudge(&self) -> impl Future<Output = Result<(), FeedError>> + Send;
}
