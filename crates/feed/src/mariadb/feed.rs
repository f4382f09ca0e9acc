//! The feed of a MariaDB's binary log.

use std::sync::Arc;

use async_trait::async_trait;
use coherence::Lsn;

use super::candidate::MariaDbCandidate;
use super::connection::connect_config;
use super::options::MariaDbOptions;
use crate::error::FeedError;
use crate::event::FeedEvent;
use crate::feed::{Checkpoint, Feed};
use crate::leader_election::LeaderElection;

/// Follows a MariaDB's binary log.
pub struct MariaDbFeed {
    election: LeaderElection<MariaDbCandidate>,
}

impl MariaDbFeed {
    /// Connects on the first [`next`](Feed::next). Run [`prepare`](super::prepare()) before.
    #[must_use]
    pub fn new(options: MariaDbOptions) -> Self {
        let config = connect_config(&options.url);
        let (source, metrics) = (options.source.clone(), options.metrics.clone());
        let candidate = MariaDbCandidate::new(Arc::new(options), config);
        Self { election: LeaderElection::new(candidate, source, metrics) }
    }
}

#[async_trait]
impl Feed for MariaDbFeed {
    async fn next(&mut self) -> Result<FeedEvent, FeedError> {
        loop {
            if let Some(session) = self.election.session() {
                let result = session.next().await;
                return Ok(self.election.handle(result));
            }
            if let Some(event) = self.election.wait().await? {
                return Ok(event);
            }
        }
    }

    fn resume(&mut self, from: Arc<dyn Checkpoint>) {
        self.election.candidate().checkpoint = Some(from);
    }

    /// Does nothing: the database does not store acknowledgements.
    fn ack(&mut self, _upto: Lsn) {}

    fn release(&mut self) {
        self.election.release();
    }
}
