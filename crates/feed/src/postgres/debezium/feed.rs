use std::sync::Arc;

use async_trait::async_trait;
use coherence::Lsn;
use tokio::sync::mpsc;

use super::inbox::{Inbox, Post};
use super::lead::EventsClaim;
use super::options::DebeziumOptions;
use crate::error::FeedError;
use crate::event::FeedEvent;
use crate::postgres::server::Server;
use crate::turns::Turns;
use crate::{Bookmark, Feed};

/// Follows a PostgreSQL by the events that Debezium posts into its [`Inbox`].
pub struct DebeziumFeed {
    turns: Turns<EventsClaim>,
    inbox: mpsc::Receiver<Post>,
}

impl DebeziumFeed {
    /// Connects on the first [`next`](Feed::next). Run [`prepare`](super::prepare()) before.
    ///
    /// # Errors
    /// [`FeedError::Setup`] when the URL is none, or asks for what is not supported.
    pub fn new(options: DebeziumOptions) -> Result<(Self, Inbox), FeedError> {
        let server = Server::parse(&options.url)?;
        let (posts, inbox) = Inbox::new(server.database(), options.relayed.clone());
        let (source, metrics) = (options.source.clone(), options.metrics.clone());
        let claim = EventsClaim::new(Arc::new(options), server);
        Ok((Self { turns: Turns::new(claim, source, metrics), inbox }, posts))
    }
}

/// Waits, and refuses what is posted meanwhile: to drop a post is to say no.
async fn refusing<T>(inbox: &mut mpsc::Receiver<Post>, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return done,
            Some(_) = inbox.recv() => {}
        }
    }
}

#[async_trait]
impl Feed for DebeziumFeed {
    async fn next(&mut self) -> Result<FeedEvent, FeedError> {
        loop {
            if let Some(session) = self.turns.session() {
                let told = session.next(&mut self.inbox).await;
                return Ok(self.turns.told(told));
            }
            if let Some(event) = refusing(&mut self.inbox, self.turns.wait()).await? {
                return Ok(event);
            }
        }
    }

    fn resume(&mut self, from: Arc<dyn Bookmark>) {
        self.turns.claim().bookmark = Some(from);
    }

    fn seen(&mut self, watermark: Lsn) {
        if let Some(session) = self.turns.session() {
            session.seen(watermark);
        }
    }

    /// Each piece is acknowledged before the next is asked for.
    fn ack(&mut self, _upto: Lsn) {
        if let Some(session) = self.turns.session() {
            session.applied();
        }
    }
}
