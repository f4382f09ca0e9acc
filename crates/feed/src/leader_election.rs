//! Election of the one node that follows a log. The other nodes are on standby and probe whether the
//! log has become free.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::error::FeedError;
use crate::event::{FeedEvent, LogBatch, StreamStart};
use crate::metrics::Metrics;

/// Interval between two probes of a standby, plus up to half of it at random, so that several standbys
/// do not probe in step.
const PROBE_INTERVAL: Duration = Duration::from_millis(150);

/// Backoff after a loss; it doubles from the minimum to the maximum.
const MIN_BACKOFF: Duration = Duration::from_millis(50);
const MAX_BACKOFF: Duration = Duration::from_secs(1);

/// A node's means to acquire one kind of log, and the state that it keeps between attempts.
pub trait Candidate: Clone + Send + Sync + 'static {
    /// A stream from its start to its loss.
    type Session: Send;

    /// Tries once to acquire the log. Returns `None` if another node holds it.
    ///
    /// # Errors
    /// The log can't be followed now.
    fn acquire(
        &mut self,
    ) -> impl Future<Output = Result<Option<(StreamStart, Self::Session)>, FeedError>> + Send;

    /// Whether to try now, after an attempt that found another holder.
    ///
    /// # Errors
    /// The database has not answered.
    fn is_free(&self) -> impl Future<Output = Result<bool, FeedError>> + Send;

    /// Keeps the state of a lost stream that the next attempt needs.
    fn stream_lost(&mut self, session: &Self::Session);

    /// Returns a random number in [0, 1), which spreads the probes of several standbys.
    fn jitter(&self) -> f64 {
        rand::random()
    }
}

/// The candidate after an attempt, and the attempt's result.
type Attempt<C> = (C, Result<Option<(StreamStart, <C as Candidate>::Session)>, FeedError>);

/// One node's part in the election.
pub(crate) struct LeaderElection<C: Candidate> {
    candidate: C,
    /// The source's name.
    source: Arc<str>,
    metrics: Metrics,
    state: State<C>,
    backoff: Duration,
    /// Whether the node has ever led or been on standby: only the first attempt may end the feed.
    settled: bool,
    on_standby: bool,
}

enum State<C: Candidate> {
    /// Try to acquire the log at this time.
    RetryAt(Instant),
    /// Runs on its own task, so that dropping [`LeaderElection::wait`] does not interrupt it.
    Acquiring(JoinHandle<Attempt<C>>),
    /// Another node leads; probe at this time.
    Standby(Instant),
    /// Runs on its own task too: a probe may itself acquire the lock.
    Probing(JoinHandle<Result<bool, FeedError>>),
    Leading(Box<C::Session>),
}

impl<C: Candidate> Drop for LeaderElection<C> {
    fn drop(&mut self) {
        match &self.state {
            State::Acquiring(attempt) => attempt.abort(),
            State::Probing(probe) => probe.abort(),
            State::RetryAt(_) | State::Standby(_) | State::Leading(_) => {}
        }
        self.metrics.leader.set(0);
    }
}

impl<C: Candidate> LeaderElection<C> {
    pub(crate) fn new(candidate: C, source: Arc<str>, metrics: Metrics) -> Self {
        Self {
            candidate,
            source,
            metrics,
            state: State::RetryAt(Instant::now()),
            backoff: MIN_BACKOFF,
            settled: false,
            on_standby: false,
        }
    }

    /// Returns the candidate, to configure it before the first attempt.
    pub(crate) fn candidate(&mut self) -> &mut C {
        &mut self.candidate
    }

    /// Returns the stream while this node leads.
    pub(crate) fn session(&mut self) -> Option<&mut C::Session> {
        match &mut self.state {
            State::Leading(session) => Some(session),
            _ => None,
        }
    }

    /// Waits for the next event of the election. Returns `None` while this node leads. Cancel safe.
    ///
    /// # Errors
    /// Errors that an administrator has to resolve, on the first attempt only.
    pub(crate) async fn wait(&mut self) -> Result<Option<FeedEvent>, FeedError> {
        loop {
            match &mut self.state {
                State::RetryAt(at) => {
                    sleep_until(*at).await;
                    self.start_attempt();
                }
                State::Acquiring(attempt) => {
                    let outcome = match attempt.await {
                        Ok((candidate, outcome)) => {
                            self.candidate = candidate;
                            outcome
                        }
                        Err(err) => Err(FeedError::unavailable("connecting", err)),
                    };
                    if let Some(event) = self.finish_attempt(outcome)? {
                        return Ok(Some(event));
                    }
                }
                State::Standby(at) => {
                    sleep_until(*at).await;
                    let candidate = self.candidate.clone();
                    let probe = async move { candidate.is_free().await };
                    self.state = State::Probing(tokio::spawn(probe));
                }
                State::Probing(probe) => {
                    let free = probe.await.unwrap_or_else(|err| {
                        Err(FeedError::unavailable("probing whether the log is free", err))
                    });
                    match free {
                        Ok(true) => self.start_attempt(),
                        Ok(false) => self.state = self.standby(),
                        Err(err) => return Ok(Some(self.lose(err))),
                    }
                }
                State::Leading(_) => return Ok(None),
            }
        }
    }

    /// Turns the session's result into an event; an error ends the session.
    pub(crate) fn handle(&mut self, result: Result<LogBatch, FeedError>) -> FeedEvent {
        match result {
            Ok(batch) => {
                self.backoff = MIN_BACKOFF;
                FeedEvent::Batch(batch)
            }
            Err(err) => {
                if let State::Leading(session) = &self.state {
                    self.candidate.stream_lost(session);
                }
                self.lose(err)
            }
        }
    }

    /// Ends the session, if there is one, and tries again later.
    pub(crate) fn release(&mut self) {
        if let State::Leading(session) = &self.state {
            self.candidate.stream_lost(session);
            self.retry_later();
        }
    }

    fn start_attempt(&mut self) {
        let mut candidate = self.candidate.clone();
        self.state = State::Acquiring(tokio::spawn(async move {
            let outcome = candidate.acquire().await;
            (candidate, outcome)
        }));
    }

    fn finish_attempt(
        &mut self,
        outcome: Result<Option<(StreamStart, C::Session)>, FeedError>,
    ) -> Result<Option<FeedEvent>, FeedError> {
        match outcome {
            Ok(Some((start, session))) => {
                tracing::info!(source = %self.source, position = %start.position, "following the log");
                self.settled = true;
                self.on_standby = false;
                self.metrics.leader.set(1);
                self.state = State::Leading(Box::new(session));
                Ok(Some(FeedEvent::Started(start)))
            }
            Ok(None) => {
                self.settled = true;
                self.backoff = MIN_BACKOFF;
                self.state = self.standby();
                let reported = std::mem::replace(&mut self.on_standby, true);
                Ok((!reported).then_some(FeedEvent::Standby))
            }
            Err(err) if !self.settled && !err.is_transient() => {
                self.state = State::RetryAt(Instant::now());
                Err(err)
            }
            Err(err) => Ok(Some(self.lose(err))),
        }
    }

    /// Returns the state of a standby, with the time of its next probe.
    fn standby(&self) -> State<C> {
        let pause = PROBE_INTERVAL.mul_f64(1.0 + self.candidate.jitter() / 2.0);
        State::Standby(Instant::now() + pause)
    }

    fn lose(&mut self, err: FeedError) -> FeedEvent {
        tracing::warn!(source = %self.source, error = %err, "change feed lost");
        self.retry_later();
        FeedEvent::Lost(err)
    }

    fn retry_later(&mut self) {
        self.metrics.leader.set(0);
        self.metrics.reconnects.inc();
        self.on_standby = false;
        self.state = State::RetryAt(Instant::now() + self.backoff);
        self.backoff = (self.backoff * 2).min(MAX_BACKOFF);
    }
}
