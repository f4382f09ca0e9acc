//! The feed of a PostgreSQL's log.

use std::sync::Arc;

use async_trait::async_trait;
use coherence::Lsn;

use super::candidate::PostgresCandidate;
use super::connection::connect_config;
use super::options::PostgresOptions;
use crate::error::FeedError;
use crate::event::FeedEvent;
use crate::feed::Feed;
use crate::leader_election::LeaderElection;

/// Follows a PostgreSQL's log.
pub struct PostgresFeed {
    election: LeaderElection<PostgresCandidate>,
}

impl PostgresFeed {
    /// Connects on the first [`next`](Feed::next). Run [`prepare`](super::prepare()) before.
    #[must_use]
    pub fn new(options: PostgresOptions) -> Self {
        let config = connect_config(&options.url);
        let (source, metrics) = (options.source.clone(), options.metrics.clone());
        let candidate = PostgresCandidate::new(Arc::new(options), config);
        Self { election: LeaderElection::new(candidate, source, metrics) }
    }
}

#[async_trait]
impl Feed for PostgresFeed {
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

    fn resume_watermark(&mut self, watermark: Lsn) {
        if let Some(session) = self.election.session() {
            session.resume_watermark(watermark);
        }
    }

    fn ack(&mut self, upto: Lsn) {
        if let Some(session) = self.election.session() {
            session.ack(upto);
        }
    }
}
