use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use coherence::Lsn;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::inbox::{Inbox, Post};
use super::lead::{Attempt, Lines, Outcome, lock};
use super::options::DebeziumOptions;
use super::session::Session;
use crate::error::FeedError;
use crate::event::FeedEvent;
use crate::postgres::server::Server;
use crate::{Bookmark, Feed};

/// Between two looks at a lock that somebody else holds, plus up to half of it again, so that
/// several that wait do not look in step.
const LOOK_EVERY: Duration = Duration::from_millis(150);

/// After a loss; doubles up to the second.
const FIRST_BACKOFF: Duration = Duration::from_millis(50);
const LONGEST_BACKOFF: Duration = Duration::from_secs(1);

/// Follows a PostgreSQL by the events that Debezium posts into its [`Inbox`].
pub struct DebeziumFeed {
    options: Arc<DebeziumOptions>,
    server: Server,
    inbox: mpsc::Receiver<Post>,
    bookmark: Option<Arc<dyn Bookmark>>,
    state: State,
    /// The last connections that were open while we led or waited.
    lines: Lines,
    anew: bool,
    shape: Option<String>,
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
    Waiting(Instant),
    /// Asking for the lock.
    Looking(JoinHandle<Result<bool, FeedError>>),
    Leading(Box<Session>),
}

impl Drop for DebeziumFeed {
    fn drop(&mut self) {
        match &self.state {
            State::Trying(attempt) => attempt.abort(),
            State::Looking(look) => look.abort(),
            State::Due(_) | State::Waiting(_) | State::Leading(_) => {}
        }
        self.options.metrics.leader.set(0);
    }
}

impl DebeziumFeed {
    /// Connects on the first [`next`](Feed::next). Run [`prepare`](super::prepare()) before.
    ///
    /// # Errors
    /// [`FeedError::Setup`] when the URL is none, or asks for what is not supported.
    pub fn new(options: DebeziumOptions) -> Result<(Self, Inbox), FeedError> {
        let server = Server::parse(&options.url)?;
        let (posts, inbox) = Inbox::new(server.database(), options.relayed.clone());
        let feed = Self {
            server,
            options: Arc::new(options),
            inbox,
            bookmark: None,
            state: State::Due(Instant::now()),
            lines: Lines::default(),
            anew: false,
            shape: None,
            backoff: FIRST_BACKOFF,
            settled: false,
            standing_by: false,
        };
        Ok((feed, posts))
    }

    fn attempt(&self) -> State {
        let attempt = Attempt {
            options: self.options.clone(),
            server: self.server.clone(),
            bookmark: self.bookmark.clone(),
            lines: self.lines.clone(),
            anew: self.anew,
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
                tracing::info!(source = %self.options.source, position = %start.position, "taking events");
                self.settled = true;
                self.standing_by = false;
                self.anew = false;
                self.lines = leads.lines.clone();
                self.options.metrics.leader.set(1);
                if start.slot_generation.is_some() {
                    self.options.metrics.slots_made.inc();
                }
                let session = Session::new(self.options.clone(), *leads);
                self.state = State::Leading(Box::new(session));
                Ok(Some(FeedEvent::Started(start)))
            }
            Ok(Outcome::Held(lines)) => {
                self.settled = true;
                self.backoff = FIRST_BACKOFF;
                self.lines = lines;
                self.state = State::Waiting(next_look());
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
            match &mut self.state {
                State::Due(at) => {
                    refusing(&mut self.inbox, sleep_until(*at)).await;
                    self.state = self.attempt();
                }
                State::Trying(attempt) => {
                    let outcome = refusing(&mut self.inbox, attempt).await;
                    let outcome = outcome
                        .unwrap_or_else(|err| Err(FeedError::unavailable("connecting", err)));
                    if let Some(event) = self.tried(outcome)? {
                        return Ok(event);
                    }
                }
                State::Waiting(at) => {
                    refusing(&mut self.inbox, sleep_until(*at)).await;
                    let (line, slot) = (self.lines.lock.clone(), self.options.slot.clone());
                    self.state = match line {
                        Some(line) => {
                            State::Looking(tokio::spawn(async move { lock(&line, &slot).await }))
                        }
                        None => self.attempt(),
                    };
                }
                State::Looking(look) => {
                    let free = refusing(&mut self.inbox, look).await.unwrap_or_else(|err| {
                        Err(FeedError::unavailable("asking for the lock", err))
                    });
                    self.state = match free {
                        Ok(false) => State::Waiting(next_look()),
                        // The lock is this connection's now.
                        Ok(true) => self.attempt(),
                        Err(err) => return Ok(self.lost(err)),
                    };
                }
                State::Leading(session) => match session.next(&mut self.inbox).await {
                    Ok(piece) => {
                        self.backoff = FIRST_BACKOFF;
                        return Ok(FeedEvent::Piece(piece));
                    }
                    Err(err) => {
                        self.anew = session.is_broken();
                        self.shape = Some(session.shape().to_owned());
                        return Ok(self.lost(err));
                    }
                },
            }
        }
    }

    fn resume(&mut self, from: Arc<dyn Bookmark>) {
        self.bookmark = Some(from);
    }

    fn seen(&mut self, watermark: Lsn) {
        if let State::Leading(session) = &mut self.state {
            session.seen(watermark);
        }
    }

    /// Each piece is acknowledged before the next is asked for.
    fn ack(&mut self, _upto: Lsn) {
        if let State::Leading(session) = &mut self.state {
            session.applied();
        }
    }
}
