use std::thread;

use async_trait::async_trait;
use coherence::Lsn;
use tokio::sync::mpsc::{self, Receiver};

use super::follow::{Told, follow};
use super::options::SqliteOptions;
use crate::Feed;
use crate::error::FeedError;
use crate::event::FeedEvent;

/// Pieces that wait for the consumer; then the thread waits for it too.
const QUEUE: usize = 16;

/// Follows an SQLite database's change log, on a thread of its own.
pub struct SqliteFeed {
    options: SqliteOptions,
    told: Option<Receiver<Told>>,
}

impl SqliteFeed {
    /// Opens the database on the first [`next`](Feed::next).
    #[must_use]
    pub fn new(options: SqliteOptions) -> Self {
        Self { options, told: None }
    }

    fn start(&mut self) -> Result<&mut Receiver<Told>, FeedError> {
        if self.told.is_none() {
            let (tell, told) = mpsc::channel(QUEUE);
            let options = self.options.clone();
            thread::Builder::new()
                .name(format!("feed-{}", self.options.source))
                .spawn(move || follow(options, tell))
                .map_err(|err| FeedError::unavailable("starting the feed's thread", err))?;
            self.told = Some(told);
        }
        Ok(self.told.as_mut().expect("it was just set"))
    }
}

#[async_trait]
impl Feed for SqliteFeed {
    async fn next(&mut self) -> Result<FeedEvent, FeedError> {
        match self.start()?.recv().await {
            Some(told) => told,
            // The thread ends by itself only after it told why; asked again, it tries again.
            None => {
                self.told = None;
                self.start()?.recv().await.unwrap_or_else(|| {
                    Err(FeedError::unavailable("following the change log", "its thread died"))
                })
            }
        }
    }

    /// The log shortens itself, so nothing has to be remembered.
    fn ack(&mut self, _upto: Lsn) {}
}
