use std::sync::Arc;

use async_trait::async_trait;
use coherence::Lsn;

use super::lead::LockClaim;
use super::options::MariaDbOptions;
use super::server::Server;
use crate::error::FeedError;
use crate::event::FeedEvent;
use crate::turns::Turns;
use crate::{Bookmark, Feed};

/// Follows a MariaDB's binary log.
pub struct MariaDbFeed {
    turns: Turns<LockClaim>,
}

impl MariaDbFeed {
    /// Connects on the first [`next`](Feed::next). Run [`prepare`](super::prepare()) before.
    ///
    /// # Errors
    /// [`FeedError::Setup`] when the URL is none, or asks for what is not supported.
    pub fn new(options: MariaDbOptions) -> Result<Self, FeedError> {
        let server = Server::parse(&options.url)?;
        let (source, metrics) = (options.source.clone(), options.metrics.clone());
        let claim = LockClaim::new(Arc::new(options), server);
        Ok(Self { turns: Turns::new(claim, source, metrics) })
    }
}

#[async_trait]
impl Feed for MariaDbFeed {
    async fn next(&mut self) -> Result<FeedEvent, FeedError> {
        loop {
            if let Some(session) = self.turns.session() {
                let told = session.next().await;
                return Ok(self.turns.told(told));
            }
            if let Some(event) = self.turns.wait().await? {
                return Ok(event);
            }
        }
    }

    fn resume(&mut self, from: Arc<dyn Bookmark>) {
        self.turns.claim().bookmark = Some(from);
    }

    /// The database remembers nothing of it.
    fn ack(&mut self, _upto: Lsn) {}
}
