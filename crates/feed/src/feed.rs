//! The consumer's side of a log.

use std::sync::Arc;

use async_trait::async_trait;
use coherence::Lsn;

use crate::error::FeedError;
use crate::event::{FeedEvent, LogEnd};

/// One consumer of a database's log. It connects and reconnects by itself.
#[async_trait]
pub trait Feed: Send {
    /// Waits for the next event. Cancel safe: dropping the future loses no event.
    ///
    /// # Errors
    /// Only errors that an administrator has to resolve; the text says how. All others are reported
    /// as [`FeedEvent::Lost`], and the feed retries.
    async fn next(&mut self) -> Result<FeedEvent, FeedError>;

    /// Resumes W at `watermark`, which an earlier feed of this log has reported. Call it after
    /// [`FeedEvent::Started`] if the consumer continues from its earlier state.
    ///
    /// If `watermark` covers the start position, W is valid at once. Otherwise a commit before that
    /// position may still be invisible (the slot was created while the commit was pending), and W
    /// stays zero until every transaction that is open now has ended.
    fn resume_watermark(&mut self, watermark: Lsn) {
        let _ = watermark;
    }

    /// Sets the consumer's checkpoint, for databases that do not store one. Call it before the first
    /// [`next`](Self::next).
    fn resume(&mut self, from: Arc<dyn Checkpoint>) {
        let _ = from;
    }

    /// Acknowledges that the consumer has durably applied everything up to `upto`; the database may
    /// discard it.
    fn ack(&mut self, upto: Lsn);

    /// Ends the stream that has started, since the consumer can't use it now. After a pause,
    /// [`next`](Self::next) acquires the log again, from the acknowledged position.
    fn release(&mut self);
}

/// The position up to which a consumer has applied the log.
#[async_trait]
pub trait Checkpoint: Send + Sync {
    /// Returns the log and the position up to which it is durably applied, or `None` if nothing is.
    ///
    /// # Errors
    /// The position can't be read now.
    async fn applied(&self) -> Result<Option<LogEnd>, FeedError>;
}
