use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use coherence::Lsn;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::lead::{Attempt, Outcome};
use super::options::PostgresOptions;
use super::server::{Control, Server};
use super::session::Session;
use super::slot::{self, State as Slot};
use crate::Feed;
use crate::error::FeedError;
use crate::event::FeedEvent;

/// Between two looks at a slot that somebody else holds, plus up to half of it again, so that
/// several that wait do not look in step.
const LOOK_EVERY: Duration = Duration::from_millis(150);

/// After a loss; doubles up to the second.
const FIRST_BACKOFF: Duration = Duration::from_millis(50);
const LONGEST_BACKOFF: Duration = Duration::from_secs(1);

/// Follows a PostgreSQL's log.
pub struct PostgresFeed {
    options: Arc<PostgresOptions>,
    server: Server,
    state: State,
    /// The last connection that was open while we led or waited.
    witness: Option<Arc<Control>>,
    made: Option<u64>,
    remake: bool,
    shape: Option<String>,
    backoff: Duration,
    /// Whether it has ever led or waited: only the first attempt may end it.
    settled: bool,
    standing_by: bool,
}

enum State {
    /// Try to get hold of the slot, at this time.
    Due(Instant),
    /// On its own task, so that dropping [`Feed::next`] does not cut it in the middle.
    Trying(JoinHandle<(Option<u64>, Result<Outcome, FeedError>)>),
    /// Somebody else holds the slot.
    Waiting(Arc<Control>, Instant),
    Leading(Box<Session>),
}

impl Drop for PostgresFeed {
    fn drop(&mut self) {
        if let State::Trying(attempt) = &self.state {
            attempt.abort();
        }
        self.options.metrics.leader.set(0);
    }
}

impl PostgresFeed {
    /// Connects on the first [`next`](Feed::next). Run [`prepare`](super::prepare()) before.
    ///
    /// # Errors
    /// [`FeedError::Setup`] when the URL is none, or asks for what is not supported.
    pub fn new(options: PostgresOptions) -> Result<Self, FeedError> {
        Ok(Self {
            server: Server::parse(&options.url)?,
            options: Arc::new(options),
            state: State::Due(Instant::now()),
            witness: None,
            made: None,
            remake: false,
            shape: None,
            backoff: FIRST_BACKOFF,
            settled: false,
            standing_by: false,
        })
    }

    fn attempt(&self) -> State {
        let attempt = Attempt {
            options: self.options.clone(),
            server: self.server.clone(),
            witness: self.witness.clone(),
            made: self.made,
            remake: self.remake,
            shape: self.shape.clone(),
        };
        State::Trying(tokio::spawn(attempt.run()))
    }

    fn tried(
        &mut self,
        outcome: Result<Outcome, FeedError>,
    ) -> Result<Option<FeedEvent>, FeedError> {
        match outcome {
            Ok(Outcome::Leads(leads)) => {
                let start = leads.start.clone();
                tracing::info!(source = %self.options.source, position = %start.position, "following the log");
                self.settled = true;
                self.standing_by = false;
                self.remake = false;
                self.witness = Some(leads.control.clone());
                self.options.metrics.leader.set(1);
                self.state = State::Leading(Box::new(Session::new(self.options.clone(), *leads)));
                Ok(Some(FeedEvent::Started(start)))
            }
            Ok(Outcome::Held(control)) => {
                self.settled = true;
                self.backoff = FIRST_BACKOFF;
                self.witness = Some(control.clone());
                self.state = State::Waiting(control, next_look());
                let told = std::mem::replace(&mut self.standing_by, true);
                Ok((!told).then_some(FeedEvent::Standby))
            }
            Err(err) if !self.settled && !err.is_transient() => {
                self.state = State::Due(Instant::now());
                Err(err)
            }
            Err(err) => Ok(Some(self.lost(err))),
        }
    }

    fn lost(&mut self, err: FeedError) -> FeedEvent {
        tracing::warn!(source = %self.options.source, error = %err, "change feed lost");
        self.options.metrics.leader.set(0);
        self.options.metrics.reconnects.inc();
        self.standing_by = false;
        self.state = State::Due(Instant::now() + self.backoff);
        self.backoff = (self.backoff * 2).min(LONGEST_BACKOFF);
        FeedEvent::Lost(err)
    }

    /// Whether to try to take over now.
    async fn look(&self, control: &Control) -> Result<bool, FeedError> {
        Ok(slot::state(control, &self.server, &self.options.slot).await? != Slot::Held)
    }
}

fn next_look() -> Instant {
    Instant::now() + LOOK_EVERY.mul_f64(1.0 + rand::random::<f64>() / 2.0)
}

#[async_trait]
impl Feed for PostgresFeed {
    async fn next(&mut self) -> Result<FeedEvent, FeedError> {
        loop {
            match &mut self.state {
                State::Due(at) => {
                    sleep_until(*at).await;
                    self.state = self.attempt();
                }
                State::Trying(attempt) => {
                    let (made, outcome) = attempt.await.unwrap_or_else(|err| {
                        (None, Err(FeedError::unavailable("connecting", err)))
                    });
                    self.made = made;
                    if let Some(event) = self.tried(outcome)? {
                        return Ok(event);
                    }
                }
                State::Waiting(control, at) => {
                    sleep_until(*at).await;
                    let control = control.clone();
                    match self.look(&control).await {
                        Ok(true) => self.state = self.attempt(),
                        Ok(false) => self.state = State::Waiting(control, next_look()),
                        Err(err) => return Ok(self.lost(err)),
                    }
                }
                State::Leading(session) => match session.next().await {
                    Ok(piece) => {
                        self.backoff = FIRST_BACKOFF;
                        return Ok(FeedEvent::Piece(piece));
                    }
                    Err(err) => {
                        self.shape = Some(session.shape().to_owned());
                        self.remake = session.slot_is_unusable();
                        return Ok(self.lost(err));
                    }
                },
            }
        }
    }

    fn seen(&mut self, watermark: Lsn) {
        if let State::Leading(session) = &mut self.state {
            session.seen(watermark);
        }
    }

    fn ack(&mut self, upto: Lsn) {
        if let State::Leading(session) = &mut self.state {
            session.ack(upto);
        }
    }
}
