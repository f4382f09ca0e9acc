//! Requests to the database behind a feed.

use std::sync::Arc;

use async_trait::async_trait;
use coherence::{ClockTime, Lsn};

use crate::error::FeedError;
use crate::event::{Identity, LogEnd, LogSample};
use crate::message::LogMessage;
use crate::schema::Schema;

/// Requests to the database that a [`Feed`](crate::Feed) follows, from any number of tasks and nodes.
#[async_trait]
pub trait Source: Send + Sync {
    /// Returns the end of the log. Every commit that was acknowledged to its client before the call
    /// lies at or below it.
    ///
    /// # Errors
    /// The database is unavailable.
    async fn log_end(&self) -> Result<LogEnd, FeedError>;

    /// Returns the end of the log and the digest of the schema at that time. Every definition that was altered
    /// before the call is part of the digest.
    ///
    /// # Errors
    /// The database is unavailable, or its schema can't be followed.
    async fn sample(&self) -> Result<LogSample, FeedError> {
        Ok(LogSample { end: self.log_end().await?, schema: None })
    }

    /// Returns the time that the database's clock shows, which decides about values that change without a commit. `None`: the
    /// source has no clock to read.
    ///
    /// # Errors
    /// The database is unavailable.
    async fn clock(&self) -> Result<Option<ClockTime>, FeedError> {
        Ok(None)
    }

    /// Reads the schema, to which later samples then refer. `None`: it is not followed.
    ///
    /// # Errors
    /// The database is unavailable, or its schema can't be followed.
    async fn schema(&self) -> Result<Option<Arc<Schema>>, FeedError> {
        Ok(None)
    }

    /// Appends a request to the log, so that it has a position and passes the same fence as a
    /// commit. A tier that has applied the returned position has applied the request.
    ///
    /// # Errors
    /// The database is unavailable, or the message is larger than [`LogMessage::MAX_BYTES`].
    async fn emit(&self, message: &LogMessage) -> Result<Lsn, FeedError>;

    /// Advances the log of an idle database past its present end, so that a feed can reach that end.
    ///
    /// # Errors
    /// The database is unavailable.
    async fn nudge(&self) -> Result<(), FeedError>;

    /// Whether a promotion gives the log a higher timeline, so that a lower one is an older history.
    fn orders_timelines(&self) -> bool {
        false
    }

    /// Returns the database's identity.
    ///
    /// # Errors
    /// The database is unavailable.
    async fn identity(&self) -> Result<Identity, FeedError>;
}
