//! The feed of a log that a replication slot sends.

use std::sync::Arc;

use async_trait::async_trait;
use coherence::Lsn;

use super::candidate::PostgresCandidate;
use super::connection::connect_config;
use super::options::PostgresOptions;
use super::session::Session;
use super::transport::{LogStream, Primary};
use crate::error::FeedError;
use crate::event::FeedEvent;
use crate::feed::Feed;
use crate::leader_election::{Candidate, LeaderElection};
use crate::metrics::Metrics;

/// Follows a PostgreSQL's log.
pub type PostgresFeed = SlotFeed<PostgresCandidate>;

/// Follows the log that a replication slot sends, whenever its candidate has the slot.
pub struct SlotFeed<C: Candidate> {
    election: LeaderElection<C>,
}

impl PostgresFeed {
    /// Connects on the first [`next`](Feed::next). Run [`prepare`](super::prepare()) before.
    #[must_use]
    pub fn new(options: PostgresOptions) -> Self {
        let config = connect_config(&options.url);
        let (source, metrics) = (options.source.clone(), options.metrics.clone());
        let candidate = PostgresCandidate::new(Arc::new(options), config);
        Self::of(candidate, source, metrics)
    }
}

impl<C: Candidate> SlotFeed<C> {
    /// Creates the feed of `candidate`, which tries to acquire the slot on the first [`next`](Feed::next).
    /// `source` is the source's name.
    pub fn of(candidate: C, source: Arc<str>, metrics: Metrics) -> Self {
        Self { election: LeaderElection::new(candidate, source, metrics) }
    }
}

#[async_trait]
impl<C, S, P> Feed for SlotFeed<C>
where
    C: Candidate<Session = Session<S, P>>,
    S: LogStream,
    P: Primary,
{
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

    fn release(&mut self) {
        self.election.release();
    }
}
