//! The server's side of a stream: the slot's messages, and queries on a connection beside it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use coherence::{Lsn, Snapshot};
use feed::FeedError;
use feed::postgres::{LogEvent, LogStream, Primary};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::environment::{Environment, Peer};
use super::recorder::{Interaction, Participant, Tone};
use super::rows::feed_commit;
use super::schema::schema;
use super::trace::TraceEvent;

/// The largest number of commits that arrive at once.
const MOST_COMMITS: usize = 256;
/// The interval at which a silent connection is checked.
const KEEPALIVE: Duration = Duration::from_secs(1);
/// The interval at which a stalled network is tried again.
const STALL: Duration = Duration::from_millis(100);
/// The longest time until a confirmation is sent, in ms.
const STATUS_MS: u64 = 100;

/// Returns an error that a retry may end.
pub(super) fn unavailable(operation: &'static str, problem: &str) -> FeedError {
    FeedError::Unavailable { operation, source: problem.into() }
}

/// One node's connection to the database. It ends with the node's process, with the server, and when the
/// network was cut for long.
#[derive(Clone)]
pub(super) struct Connection {
    pub(super) env: Arc<Environment>,
    pub(super) node: usize,
    /// The generation of the node's process.
    pub(super) process: u64,
    /// The generations of the server and of the connection.
    pub(super) opened: (u64, u64),
}

impl Connection {
    /// Opens a connection, and returns it when the server has answered.
    pub(super) async fn open(
        env: &Arc<Environment>,
        node: usize,
        process: u64,
    ) -> Result<Self, FeedError> {
        let cut = |_| unavailable("connecting", "cut off");
        env.transmit(node, process, Peer::Database).await.map_err(cut)?;
        let connection = env.faults.lock().connections[node];
        let server = {
            let db = env.db.lock();
            if !db.up {
                return Err(unavailable("connecting", "down"));
            }
            db.generation
        };
        env.transmit(node, process, Peer::Database).await.map_err(cut)?;
        Ok(Self { env: Arc::clone(env), node, process, opened: (server, connection) })
    }

    pub(super) fn is_open(&self) -> bool {
        let connection = self.env.faults.lock().connections[self.node];
        let db = self.env.db.lock();
        db.up && (db.generation, connection) == self.opened
    }

    /// Transmits one message to the server, or one back.
    pub(super) async fn transmit(&self) -> Result<(), FeedError> {
        let sent = self.env.transmit(self.node, self.process, Peer::Database).await;
        if sent.is_err() || !self.is_open() {
            return Err(unavailable("querying", "the connection is lost"));
        }
        Ok(())
    }
}

impl Connection {
    /// Waits for the answer to a statement, which may be an error.
    async fn answer(&self) -> Result<(), FeedError> {
        self.transmit().await?;
        if self.env.fails() {
            return Err(unavailable("querying", "the statement failed"));
        }
        Ok(())
    }
}

impl Primary for Connection {
    async fn snapshot(&self) -> Result<Snapshot, FeedError> {
        let left = self.env.now();
        self.transmit().await?;
        let (turned, snapshot) = (self.env.now(), self.env.db.lock().snapshot());
        self.answer().await?;
        self.env.recorder.record_exchange(
            [Participant::Node(self.node), Participant::Database],
            [left, turned, self.env.now()],
            || "visible?".into(),
            || match snapshot.in_progress.is_empty() {
                true => ("everything is".into(), Tone::Plain),
                false => ("✗ one is not yet".into(), Tone::Bad),
            },
        );
        Ok(snapshot)
    }

    async fn schema_digest(&self) -> Result<u64, FeedError> {
        self.transmit().await?;
        let digest = schema(&self.env.db.lock()).digest();
        self.answer().await?;
        Ok(digest)
    }

    async fn nudge(&self) -> Result<(), FeedError> {
        self.transmit().await?;
        self.env.write_empty_commit();
        self.transmit().await
    }
}

/// The messages of the slot, from its acquisition until it is lost or dropped.
pub(super) struct SlotStream {
    connection: Connection,
    /// The database's session that holds the slot.
    session: u64,
    sent: Lsn,
    /// When the next messages arrive, if they are on their way.
    arrival: Option<Instant>,
    arrived: VecDeque<LogEvent>,
    status: Arc<Mutex<Status>>,
}

/// The confirmed position, which is sent after a while.
#[derive(Default)]
struct Status {
    upto: Lsn,
    is_sending: bool,
}

impl Drop for SlotStream {
    /// A process closes its connections; the database has to find out that one is dead.
    fn drop(&mut self) {
        let Connection { env, node, process, .. } = &self.connection;
        if env.is_alive(*node, *process) {
            env.db.lock().leave(self.session);
        }
    }
}

impl SlotStream {
    pub(super) fn new(connection: Connection, session: u64, position: Lsn) -> Self {
        let (arrival, arrived, status) = (None, VecDeque::new(), Arc::default());
        Self { connection, session, sent: position, arrival, arrived, status }
    }

    fn is_stalled(&self) -> bool {
        let faults = self.connection.env.faults.lock();
        faults.log_stalled || faults.cut_database[self.connection.node]
    }

    /// Takes over the messages that the server has sent so far.
    fn arrive(&mut self) {
        let Connection { env, node, .. } = &self.connection;
        let db = env.db.lock();
        let (commits, all) = db.sendable(self.sent, MOST_COMMITS);
        for number in commits {
            let commit = &db.commits[number];
            env.recorder.record(|| {
                let (from, to, at) = (Participant::Log, Participant::Node(*node), env.now());
                let (text, tone) = (format!("commit {}", commit.lsn.0), Tone::Plain);
                Interaction::Message { from, to, left: at, arrived: at, text, tone }
            });
            self.sent = commit.lsn;
            // The log carries 32 bits of the id.
            let carried = || (feed_commit(env, &db, number), commit.xid as u32);
            let carried = (!commit.unlogged).then(carried);
            self.arrived.push_back(LogEvent::Commit { end: commit.lsn, commit: carried });
        }
        if all && db.flushed > self.sent {
            self.sent = db.flushed;
            self.arrived.push_back(LogEvent::Progress(db.flushed));
        }
    }
}

impl LogStream for SlotStream {
    async fn receive(&mut self) -> Result<LogEvent, FeedError> {
        let Connection { env, node, process, .. } = self.connection.clone();
        loop {
            env.until_running(node, process).await;
            if let Some(event) = self.arrived.pop_front() {
                return Ok(event);
            }
            let mut moved = std::pin::pin!(env.log_moved.notified());
            // No notification is missed from here on.
            moved.as_mut().enable();
            let (streams, has_more) = {
                let db = env.db.lock();
                (db.streams(self.session), db.flushed > self.sent)
            };
            if !streams || !self.connection.is_open() {
                return Err(unavailable("following the log", "the server ended the stream"));
            }
            if self.is_stalled() {
                sleep(STALL).await;
            } else if !has_more {
                let _ = timeout(KEEPALIVE, moved).await;
            } else {
                let at = *self.arrival.get_or_insert_with(|| Instant::now() + env.millis(0, 3));
                if Instant::now() < at {
                    sleep_until(at).await;
                } else {
                    self.arrival = None;
                    self.arrive();
                }
            }
        }
    }

    fn confirm(&self, upto: Lsn) {
        {
            let mut status = self.status.lock();
            if upto <= status.upto {
                return;
            }
            status.upto = upto;
            if std::mem::replace(&mut status.is_sending, true) {
                return;
            }
        }
        let (connection, session) = (self.connection.clone(), self.session);
        let status = Arc::clone(&self.status);
        tokio::spawn(async move {
            let Connection { env, node, process, .. } = connection;
            sleep(env.millis(0, STATUS_MS)).await;
            env.until_running(node, process).await;
            while env.faults.lock().cut_database[node] {
                sleep(STALL).await;
            }
            let upto = {
                let mut status = status.lock();
                status.is_sending = false;
                status.upto
            };
            let persist = env.chance(0.2);
            env.db.lock().confirm(session, upto, persist);
            env.note(Some(node), TraceEvent::Confirmed(upto.0));
        });
    }
}
