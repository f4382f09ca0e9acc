//! The feed of posted events.

use std::sync::Arc;

use async_trait::async_trait;
use coherence::Lsn;
use tokio::sync::mpsc;

use super::inbox::PostedBody;
use crate::error::FeedError;
use crate::event::{FeedEvent, LogBatch};
use crate::feed::{Checkpoint, Feed};
use crate::leader_election::{Candidate, LeaderElection};

/// A stream of posted events from its start to its loss.
pub(crate) trait PostedSession: Send {
    /// A parsed message.
    type Message: Send;

    /// Waits until the log or the watermark has advanced, or changes are to be delivered early. Cancel safe.
    fn next(
        &mut self,
        posted: &mut mpsc::Receiver<PostedBody<Self::Message>>,
    ) -> impl Future<Output = Result<LogBatch, FeedError>> + Send;

    /// Acknowledges the bodies of the last batch: the consumer has applied it.
    fn ack(&mut self);

    /// See [`Feed::resume_watermark`].
    fn resume_watermark(&mut self, watermark: Lsn);
}

/// A candidate for the right to take events.
pub(crate) trait PostedCandidate: Candidate<Session: PostedSession> {
    /// Sets the consumer's checkpoint.
    fn resume(&mut self, from: Arc<dyn Checkpoint>);
}

/// Follows a database by the events that are posted into its inbox.
pub(crate) struct PostedFeed<C: PostedCandidate> {
    election: LeaderElection<C>,
    posted: mpsc::Receiver<PostedBody<<C::Session as PostedSession>::Message>>,
}

impl<C: PostedCandidate> PostedFeed<C> {
    pub(crate) fn new(
        election: LeaderElection<C>,
        posted: mpsc::Receiver<PostedBody<<C::Session as PostedSession>::Message>>,
    ) -> Self {
        Self { election, posted }
    }
}

/// Runs `work`, and meanwhile rejects posted bodies by dropping them.
async fn reject_during<M, T>(
    posted: &mut mpsc::Receiver<PostedBody<M>>,
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
impl<C: PostedCandidate> Feed for PostedFeed<C> {
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
        self.election.candidate().resume(from);
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
