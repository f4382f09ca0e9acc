use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use coherence::Lsn;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::lead::{Attempt, Outcome, lock};
use super::options::MariaDbOptions;
use super::server::{Control, Server};
use super::session::Session;
use crate::error::FeedError;
use crate::event::{FeedEvent, Identity};
use crate::{Bookmark, Feed};

/// Between two looks at a lock that somebody else holds, plus up to half of it again, so that
/// several that wait do not look in step.
const LOOK_EVERY: Duration = Duration::from_millis(150);

/// After a loss; doubles up to the second.
const FIRST_BACKOFF: Duration = Duration::from_millis(50);
const LONGEST_BACKOFF: Duration = Duration::from_secs(1);

/// Follows a MariaDB's binary log.
pub struct MariaDbFeed {
    options: Arc<MariaDbOptions>,
    server: Server,
    bookmark: Option<Arc<dyn Bookmark>>,
    state: State,
    /// The last connection that was open while we led or waited.
    witness: Option<Arc<Control>>,
    /// How the server was then.
    seen: Option<Identity>,
    anew: bool,
    backoff: Duration,
    /// Whether it has ever led or waited: only the first attempt may end it.
    settled: bool,
    standing_by: bool,
}

enum State {
    /// Try to get hold of the lock, at this time.
    Due(Instant),
    /// On its own task, so that dropping [`Feed::next`] does not cut it in the middle.
    Trying(JoinHandle<Result<Outcome, FeedError>>),
    /// Somebody else holds the lock.
    Waiting(Arc<Control>, Instant),
    /// Asking for the lock.
    Looking(JoinHandle<Result<bool, FeedError>>),
    Leading(Box<Session>),
}

impl Drop for MariaDbFeed {
    fn drop(&mut self) {
        match &self.state {
            State::Trying(attempt) => attempt.abort(),
            State::Looking(look) => look.abort(),
            State::Due(_) | State::Waiting(..) | State::Leading(_) => {}
        }
        self.options.metrics.leader.set(0);
    }
}

impl MariaDbFeed {
    /// Connects on the first [`next`](Feed::next). Run [`prepare`](super::prepare()) before.
    ///
    /// # Errors
    /// [`FeedError::Setup`] when the URL is none, or asks for what is not supported.
    pub fn new(options: MariaDbOptions) -> Result<Self, FeedError> {
        Ok(Self {
            server: Server::parse(&options.url)?,
            options: Arc::new(options),
            bookmark: None,
            state: State::Due(Instant::now()),
            witness: None,
            seen: None,
            anew: false,
            backoff: FIRST_BACKOFF,
            settled: false,
            standing_by: false,
        })
    }

    fn attempt(&self) -> State {
        let attempt = Attempt {
            options: self.options.clone(),
            server: self.server.clone(),
            bookmark: self.bookmark.clone(),
            witness: self.witness.clone(),
            seen: self.seen.clone(),
            anew: self.anew,
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
                self.anew = false;
                self.witness = Some(leads.control.clone());
                self.seen = Some(Identity {
                    system: start.system,
                    timeline: start.timeline,
                    server_started: start.server_started.clone(),
                });
                self.options.metrics.leader.set(1);
                let session = Session::new(self.options.clone(), self.server.database(), *leads);
                self.state = State::Leading(Box::new(session));
                Ok(Some(FeedEvent::Started(start)))
            }
            Ok(Outcome::Held(control, identity)) => {
                self.settled = true;
                self.backoff = FIRST_BACKOFF;
                self.witness = Some(control.clone());
                self.seen = Some(identity);
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
}

fn next_look() -> Instant {
    Instant::now() + LOOK_EVERY.mul_f64(1.0 + rand::random::<f64>() / 2.0)
}

#[async_trait]
impl Feed for MariaDbFeed {
    async fn next(&mut self) -> Result<FeedEvent, FeedError> {
        loop {
            match &mut self.state {
                State::Due(at) => {
                    sleep_until(*at).await;
                    self.state = self.attempt();
                }
                State::Trying(attempt) => {
                    let outcome = attempt
                        .await
                        .unwrap_or_else(|err| Err(FeedError::unavailable("connecting", err)));
                    if let Some(event) = self.tried(outcome)? {
                        return Ok(event);
                    }
                }
                State::Waiting(control, at) => {
                    sleep_until(*at).await;
                    let (control, server) = (control.clone(), self.server.clone());
                    let slot = self.options.slot.clone();
                    self.state = State::Looking(tokio::spawn(async move {
                        lock(&control, &server, &slot).await
                    }));
                }
                State::Looking(look) => {
                    let free = look.await.unwrap_or_else(|err| {
                        Err(FeedError::unavailable("asking for the lock", err))
                    });
                    self.state = match (free, &self.witness) {
                        (Ok(false), Some(control)) => State::Waiting(control.clone(), next_look()),
                        // The lock is this connection's now.
                        (Ok(_), _) => self.attempt(),
                        (Err(err), _) => return Ok(self.lost(err)),
                    };
                }
                State::Leading(session) => match session.next().await {
                    Ok(piece) => {
                        self.backoff = FIRST_BACKOFF;
                        return Ok(FeedEvent::Piece(piece));
                    }
                    Err(err) => {
                        self.anew = session.place_is_unusable();
                        return Ok(self.lost(err));
                    }
                },
            }
        }
    }

    fn resume(&mut self, from: Arc<dyn Bookmark>) {
        self.bookmark = Some(from);
    }

    /// The database remembers nothing of it.
    fn ack(&mut self, _upto: Lsn) {}
}
