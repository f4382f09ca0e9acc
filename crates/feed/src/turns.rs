//! Nodes that take turns at one log: one of them follows it, the others look again and again whether it
//! has become free.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::error::FeedError;
use crate::event::{FeedEvent, Piece, Start};
use crate::metrics::Metrics;

/// Between two looks at what somebody else holds, plus up to half of it again, so that several that
/// wait do not look in step.
const LOOK_EVERY: Duration = Duration::from_millis(150);

/// After a loss; doubles up to the second.
const FIRST_BACKOFF: Duration = Duration::from_millis(50);
const LONGEST_BACKOFF: Duration = Duration::from_secs(1);

/// How one kind of log is got hold of, and what is remembered from one time to the next.
pub(crate) trait Claim: Clone + Send + Sync + 'static {
    /// A stream, from its start to its loss.
    type Session: Send;

    /// Tries once. `None`: somebody else holds it.
    fn attempt(
        &mut self,
    ) -> impl Future<Output = Result<Option<(Start, Self::Session)>, FeedError>> + Send;

    /// Whether to try now, after an attempt that found somebody else.
    fn is_free(&self) -> impl Future<Output = Result<bool, FeedError>> + Send;

    /// What is to be remembered of a stream that was lost.
    fn lost(&mut self, session: &Self::Session);
}

/// What an attempt leaves behind, and what came of it.
type Tried<C> = (C, Result<Option<(Start, <C as Claim>::Session)>, FeedError>);

/// One node's turns.
pub(crate) struct Turns<C: Claim> {
    claim: C,
    /// The source's name.
    source: Arc<str>,
    metrics: Metrics,
    state: State<C>,
    backoff: Duration,
    /// Whether it has ever led or waited: only the first attempt may end it.
    settled: bool,
    standing_by: bool,
}

enum State<C: Claim> {
    /// Try at this time.
    Due(Instant),
    /// On its own task, so that dropping [`Turns::wait`] does not cut it in the middle.
    Trying(JoinHandle<Tried<C>>),
    /// Somebody else leads; look at this time.
    Waiting(Instant),
    /// On its own task too: to look may be to get it.
    Looking(JoinHandle<Result<bool, FeedError>>),
    Leading(Box<C::Session>),
}

impl<C: Claim> Drop for Turns<C> {
    fn drop(&mut self) {
        match &self.state {
            State::Trying(attempt) => attempt.abort(),
            State::Looking(look) => look.abort(),
            State::Due(_) | State::Waiting(_) | State::Leading(_) => {}
        }
        self.metrics.leader.set(0);
    }
}

impl<C: Claim> Turns<C> {
    pub(crate) fn new(claim: C, source: Arc<str>, metrics: Metrics) -> Self {
        Self {
            claim,
            source,
            metrics,
            state: State::Due(Instant::now()),
            backoff: FIRST_BACKOFF,
            settled: false,
            standing_by: false,
        }
    }

    /// For what may be said before the first turn.
    pub(crate) fn claim(&mut self) -> &mut C {
        &mut self.claim
    }

    /// The stream, while this node leads.
    pub(crate) fn session(&mut self) -> Option<&mut C::Session> {
        match &mut self.state {
            State::Leading(session) => Some(session),
            _ => None,
        }
    }

    /// Goes on until there is something to tell. `None`: this node leads. Dropping it loses nothing.
    ///
    /// # Errors
    /// What needs a human, at the first attempt only.
    pub(crate) async fn wait(&mut self) -> Result<Option<FeedEvent>, FeedError> {
        loop {
            match &mut self.state {
                State::Due(at) => {
                    sleep_until(*at).await;
                    self.try_now();
                }
                State::Trying(attempt) => {
                    let outcome = match attempt.await {
                        Ok((claim, outcome)) => {
                            self.claim = claim;
                            outcome
                        }
                        Err(err) => Err(FeedError::unavailable("connecting", err)),
                    };
                    if let Some(event) = self.tried(outcome)? {
                        return Ok(Some(event));
                    }
                }
                State::Waiting(at) => {
                    sleep_until(*at).await;
                    let claim = self.claim.clone();
                    let look = async move { claim.is_free().await };
                    self.state = State::Looking(tokio::spawn(look));
                }
                State::Looking(look) => {
                    let free = look.await.unwrap_or_else(|err| {
                        Err(FeedError::unavailable("looking whether the log is free", err))
                    });
                    match free {
                        Ok(true) => self.try_now(),
                        Ok(false) => self.state = State::Waiting(next_look()),
                        Err(err) => return Ok(Some(self.lose(err))),
                    }
                }
                State::Leading(_) => return Ok(None),
            }
        }
    }

    /// What the session's answer means.
    pub(crate) fn told(&mut self, told: Result<Piece, FeedError>) -> FeedEvent {
        match told {
            Ok(piece) => {
                self.backoff = FIRST_BACKOFF;
                FeedEvent::Piece(piece)
            }
            Err(err) => {
                if let State::Leading(session) = &self.state {
                    self.claim.lost(session);
                }
                self.lose(err)
            }
        }
    }

    fn try_now(&mut self) {
        let mut claim = self.claim.clone();
        self.state = State::Trying(tokio::spawn(async move {
            let outcome = claim.attempt().await;
            (claim, outcome)
        }));
    }

    fn tried(
        &mut self,
        outcome: Result<Option<(Start, C::Session)>, FeedError>,
    ) -> Result<Option<FeedEvent>, FeedError> {
        match outcome {
            Ok(Some((start, session))) => {
                tracing::info!(source = %self.source, position = %start.position, "following the log");
                self.settled = true;
                self.standing_by = false;
                self.metrics.leader.set(1);
                self.state = State::Leading(Box::new(session));
                Ok(Some(FeedEvent::Started(start)))
            }
            Ok(None) => {
                self.settled = true;
                self.backoff = FIRST_BACKOFF;
                self.state = State::Waiting(next_look());
                let told = std::mem::replace(&mut self.standing_by, true);
                Ok((!told).then_some(FeedEvent::Standby))
            }
            Err(err) if !self.settled && !err.is_transient() => {
                self.state = State::Due(Instant::now());
                Err(err)
            }
            Err(err) => Ok(Some(self.lose(err))),
        }
    }

    fn lose(&mut self, err: FeedError) -> FeedEvent {
        tracing::warn!(source = %self.source, error = %err, "change feed lost");
        self.metrics.leader.set(0);
        self.metrics.reconnects.inc();
        self.standing_by = false;
        self.state = State::Due(Instant::now() + self.backoff);
        self.backoff = (self.backoff * 2).min(LONGEST_BACKOFF);
        FeedEvent::Lost(err)
    }
}

fn next_look() -> Instant {
    Instant::now() + LOOK_EVERY.mul_f64(1.0 + rand::random::<f64>() / 2.0)
}
