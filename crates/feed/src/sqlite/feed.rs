//! The feed of an SQLite database's change log.

use std::thread;

use async_trait::async_trait;
use coherence::Lsn;
use tokio::sync::mpsc::{self, Receiver};

use super::options::SqliteOptions;
use super::session::{FeedResult, follow};
use crate::error::FeedError;
use crate::event::FeedEvent;
use crate::feed::Feed;

/// Events that may wait for the consumer; beyond it the thread waits too.
const CAPACITY: usize = 16;

/// Follows an SQLite database's change log, on a thread of its own.
pub struct SqliteFeed {
    options: SqliteOptions,
    events: Option<Receiver<FeedResult>>,
}

impl SqliteFeed {
    /// Opens the database on the first [`next`](Feed::next).
    #[must_use]
    pub fn new(options: SqliteOptions) -> Self {
        Self { options, events: None }
    }

    fn start(&mut self) -> Result<&mut Receiver<FeedResult>, FeedError> {
        if self.events.is_none() {
            let (sender, events) = mpsc::channel(CAPACITY);
            let options = self.options.clone();
            thread::Builder::new()
                .name(format!("feed-{}", self.options.source))
                .spawn(move || follow(options, sender))
                .map_err(|err| FeedError::unavailable("starting the feed's thread", err))?;
            self.events = Some(events);
        }
        Ok(self.events.as_mut().expect("it was just set"))
    }
}

#[async_trait]
impl Feed for SqliteFeed {
    async fn next(&mut self) -> Result<FeedEvent, FeedError> {
        match self.start()?.recv().await {
            Some(event) => event,
            // The thread ends only after it has reported an error; the next call retries.
            None => {
                self.events = None;
                self.start()?.recv().await.unwrap_or_else(|| {
                    Err(FeedError::unavailable("following the change log", "its thread has ended"))
                })
            }
        }
    }

    /// Does nothing: the log truncates itself.
    fn ack(&mut self, _upto: Lsn) {}
}
