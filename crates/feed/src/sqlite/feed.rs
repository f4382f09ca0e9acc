//! The feed of an SQLite database's change log.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use async_trait::async_trait;
use coherence::Lsn;
use tokio::sync::mpsc::{self, Receiver};

use super::lineage::SeenHistory;
use super::options::SqliteOptions;
use super::session::{FeedResult, follow};
use super::source::SqliteSource;
use crate::error::FeedError;
use crate::event::{FeedEvent, LogEnd};
use crate::feed::{Checkpoint, Feed};

/// Events that may wait for the consumer; beyond it the thread waits too.
const CAPACITY: usize = 16;

/// The pause after a failed attempt to read the checkpoint.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// Follows an SQLite database's change log, on a thread of its own.
pub struct SqliteFeed {
    options: SqliteOptions,
    seen: SeenHistory,
    checkpoint: Option<Arc<dyn Checkpoint>>,
    events: Option<Receiver<FeedResult>>,
}

impl SqliteFeed {
    /// Opens the database on the first [`next`](Feed::next).
    #[must_use]
    pub fn new(options: SqliteOptions) -> Self {
        Self { options, seen: SeenHistory::default(), checkpoint: None, events: None }
    }

    /// Returns a source of requests about the same log. It does not take a log that has gone back behind what the
    /// feed has read for the log's end.
    #[must_use]
    pub fn source(&self) -> SqliteSource {
        SqliteSource::with_history(&self.options.path, self.seen.clone())
    }

    async fn start(&mut self) -> Result<&mut Receiver<FeedResult>, FeedError> {
        if self.events.is_none() {
            let applied = self.applied().await?;
            let (sender, events) = mpsc::channel(CAPACITY);
            let (options, seen) = (self.options.clone(), self.seen.clone());
            thread::Builder::new()
                .name(format!("feed-{}", self.options.source))
                .spawn(move || follow(options, seen, applied, sender))
                .map_err(|err| FeedError::unavailable("starting the feed's thread", err))?;
            self.events = Some(events);
        }
        Ok(self.events.as_mut().expect("it was just set"))
    }

    /// Returns the position that the consumer has applied.
    async fn applied(&self) -> Result<Option<LogEnd>, FeedError> {
        match &self.checkpoint {
            Some(checkpoint) => checkpoint.applied().await,
            None => Ok(None),
        }
    }
}

#[async_trait]
impl Feed for SqliteFeed {
    async fn next(&mut self) -> Result<FeedEvent, FeedError> {
        // The thread ends only after it has reported an error; the next call starts another one.
        for _ in 0..2 {
            let events = match self.start().await {
                Ok(events) => events,
                Err(err) => {
                    tokio::time::sleep(RETRY_PAUSE).await;
                    return Ok(FeedEvent::Lost(err));
                }
            };
            if let Some(event) = events.recv().await {
                return event;
            }
            self.events = None;
        }
        Err(FeedError::unavailable("following the change log", "its thread has ended"))
    }

    fn resume(&mut self, from: Arc<dyn Checkpoint>) {
        self.checkpoint = Some(from);
    }

    /// Does nothing: the log truncates itself.
    fn ack(&mut self, _upto: Lsn) {}

    /// The thread ends when it has its next event.
    fn release(&mut self) {
        self.events = None;
    }
}
