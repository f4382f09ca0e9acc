use std::sync::Arc;

use async_trait::async_trait;
use coherence::Lsn;

use super::lead::SlotClaim;
use super::options::PostgresOptions;
use super::server::Server;
use crate::Feed;
use crate::error::FeedError;
use crate::event::FeedEvent;
use crate::turns::Turns;

/// Follows a PostgreSQL's log.
pub struct PostgresFeed {
    turns: Turns<SlotClaim>,
}

impl PostgresFeed {
    /// Connects on the first [`next`](Feed::next). Run [`prepare`](super::prepare()) before.
    ///
    /// # Errors
    /// [`FeedError::Setup`] when the URL is none, or asks for what is not supported.
    pub fn new(options: PostgresOptions) -> Result<Self, FeedError> {
        let server = Server::parse(&options.url)?;
        let (source, metrics) = (options.source.clone(), options.metrics.clone());
        let claim = SlotClaim::new(Arc::new(options), server);
        Ok(Self { turns: Turns::new(claim, source, metrics) })
    }
}

#[async_trait]
impl Feed for PostgresFeed {
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

    fn seen(&mut self, watermark: Lsn) {
        if let Some(session) = self.turns.session() {
            session.seen(watermark);
        }
    }

    fn ack(&mut self, upto: Lsn) {
        if let Some(session) = self.turns.session() {
            session.ack(upto);
        }
    }
}
