//! The feed of posted events.

use std::sync::Arc;

use async_trait::async_trait;
use coherence::Lsn;
use tokio::sync::mpsc;

use super::candidate::DebeziumCandidate;
use super::inbox::{EventInbox, PostedBody};
use super::options::DebeziumOptions;
use crate::error::FeedError;
use crate::event::FeedEvent;
use crate::feed::{Checkpoint, Feed};
use crate::leader_election::LeaderElection;
use crate::postgres::connection::connect_config;

/// Follows a PostgreSQL by the events that Debezium posts into its [`EventInbox`].
pub struct DebeziumFeed {
    election: LeaderElection<DebeziumCandidate>,
    posted: mpsc::Receiver<PostedBody>,
}

impl DebeziumFeed {
    /// Connects on the first [`next`](Feed::next). Run [`prepare`](super::prepare()) before.
    #[must_use]
    pub fn new(options: DebeziumOptions) -> (Self, EventInbox) {
        let config = connect_config(&options.url);
        let (inbox, posted) =
            EventInbox::new(config.url.database(), options.debezium_metrics.clone());
        let (source, metrics) = (options.source.clone(), options.metrics.clone());
        let candidate = DebeziumCandidate::new(Arc::new(options), config);
        (Self { election: LeaderElection::new(candidate, source, metrics), posted }, inbox)
    }
}

/// Runs `work`, and meanwhile rejects posted bodies by dropping them.
async fn reject_during<T>(
    posted: &mut mpsc::Receiver<PostedBody>,
    work: impl Future<Output = T>,
) -> T {
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return done,
            Some(_) = posted.recv() => {}
        }
    }
}

#[async_trait]
impl Feed for DebeziumFeed {
    async fn next(&mut self) -> Result<FeedEvent, FeedError> {
        loop {
            if let Some(session) = self.election.session() {
                let result = session.next(&mut self.posted).await;
                return Ok(self.election.handle(result));
            }
            if let Some(event) = reject_during(&mut self.posted, self.election.wait()).await? {
                return Ok(event);
            }
        }
    }

    fn resume(&mut self, from: Arc<dyn Checkpoint>) {
        self.election.candidate().checkpoint = Some(from);
    }

    fn resume_watermark(&mut self, watermark: Lsn) {
        if let Some(session) = self.election.session() {
            session.resume_watermark(watermark);
        }
    }

    /// Each batch is acknowledged before the next one is requested.
    fn ack(&mut self, _upto: Lsn) {
        if let Some(session) = self.election.session() {
            session.ack();
        }
    }

    fn release(&mut self) {
        self.election.release();
    }
}
