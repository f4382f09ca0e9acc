//! A node's follower of the log, composed as in `feed::postgres` and the binary: the slot, the stream,
//! the visibility snapshots, and the product's own [`Leader`].

use std::sync::Arc;
use std::time::Duration;

use cache::leader::{ApplyResult, Leader};
use cache::{Engine, TierError};
use coherence::resume::{Resume, Start};
use coherence::{Advance, Cause, Clock, Event, Log, Lsn, Renewal, StreamCursor};
use tokio::time::{Instant, sleep, timeout_at};

use super::commits::Commit;
use super::environment::{Environment, Peer};
use super::recorder::{Interaction, Participant, Tone};
use super::setup::{FILTERED, is_row_alone, key, policy, subject, wildcard};
use super::trace::TraceEvent;
use super::values;

/// The largest number of commits in one batch.
const MOST_COMMITS: usize = 256;
/// The longest TTL of a contract.
const LONGEST_TTL: Duration = Duration::from_secs(300);
/// The silence after which a session checks itself.
const SILENCE: Duration = Duration::from_secs(1);
/// The number of snapshots per commit that are taken without a pause (`feed::postgres::visibility`).
const PROMPT_SNAPSHOTS: u32 = 4;

/// One node's follower.
pub(super) struct Follower {
    env: Arc<Environment>,
    node: usize,
    generation: u64,
    leader: Leader,
    /// The server's generation and the connection that was open while this node led or waited.
    witness: Option<(u64, u64)>,
    /// Whether the node has led or waited before.
    has_led: bool,
    /// Whether an earlier, failed attempt created the slot.
    created_slot: bool,
}

/// A stream in progress.
struct Session {
    number: u64,
    server_generation: u64,
    start: Start,
    cursor: StreamCursor,
    sent: Lsn,
    snapshots: u32,
}

/// The stream is lost.
struct StreamLost;

impl Follower {
    pub(super) fn new(
        env: &Arc<Environment>,
        node: usize,
        generation: u64,
        engine: &Engine,
        clock: &Arc<dyn Clock>,
    ) -> Self {
        let leader = Leader::new(engine.clone(), Arc::clone(clock), LONGEST_TTL);
        let env = Arc::clone(env);
        Self { env, node, generation, leader, witness: None, has_led: false, created_slot: false }
    }

    /// Leads whenever possible, without end.
    pub(super) async fn run(mut self) {
        let mut backoff = 50;
        loop {
            match self.attempt().await {
                Ok(Some(session)) => {
                    let number = session.number;
                    self.env.sessions.lock()[self.node] = Some(number);
                    let Err(StreamLost) = self.session(session).await;
                    self.env.db.lock().leave(number);
                    backoff = 50;
                }
                Ok(None) => {
                    sleep(self.env.millis(150, 225)).await;
                    continue;
                }
                Err(StreamLost) => backoff = (backoff * 2).min(1_000),
            }
            sleep(Duration::from_millis(backoff)).await;
        }
    }

    async fn transmit(&self) -> Result<(), StreamLost> {
        self.env.transmit(self.node, self.generation, Peer::Database).await.map_err(|_| StreamLost)
    }

    /// Tries to acquire the slot; `None` if another session has it.
    async fn attempt(&mut self) -> Result<Option<Session>, StreamLost> {
        self.transmit().await?;
        let connection = self.env.faults.lock().connections[self.node];
        let taken = {
            let mut db = self.env.db.lock();
            if !db.up {
                return Err(StreamLost);
            }
            let here = Some((db.generation, connection));
            let unbroken = self.witness == here;
            self.witness = here;
            let taken = db.take_slot();
            taken.map(|(number, position, new)| {
                self.created_slot |= new;
                let Log { system, timeline, server } = db.log;
                let unbroken = self.has_led.then_some(unbroken);
                let new_slot = std::mem::take(&mut self.created_slot);
                let start = Start { system, timeline, server, new_slot, unbroken, position };
                let cursor = StreamCursor::starting(position, db.draw_xid());
                let (server_generation, sent) = (db.generation, position);
                Session { number, server_generation, start, cursor, sent, snapshots: 0 }
            })
        };
        self.has_led = true;
        let new_slot = taken.as_ref().is_some_and(|session| session.start.new_slot);
        if let Err(StreamLost) = self.transmit().await {
            // The slot is free again; the node remembers that it created the slot.
            self.created_slot |= new_slot;
            if let Some(session) = taken {
                self.env.db.lock().leave(session.number);
            }
            return Err(StreamLost);
        }
        Ok(taken)
    }

    async fn session(
        &mut self,
        mut session: Session,
    ) -> Result<std::convert::Infallible, StreamLost> {
        let mut tries = 0;
        let (verdict, watermark) = loop {
            match self.leader.start(session.start).await {
                Ok(begun) => break begun,
                Err(err) => self.failed(&err, &mut tries).await,
            }
        };
        let (Resume::Reset(epoch) | Resume::Continue(epoch)) = verdict;
        self.env.note(
            Some(self.node),
            TraceEvent::Lead {
                position: session.start.position.0,
                began: matches!(verdict, Resume::Reset(_)),
                incarnation: epoch.incarnation,
            },
        );
        session.cursor.restore_watermark(watermark);
        loop {
            let env = Arc::clone(&self.env);
            let mut moved = std::pin::pin!(env.log_moved.notified());
            // No notification is missed from here on.
            moved.as_mut().enable();
            let events = self.receive(&mut session).await?;
            if let Some(advance) = session.cursor.take_advance() {
                self.publish(advance, events).await;
                session.cursor.ack(advance.upto);
                self.confirm(&session).await?;
                // Tombstones may be old enough now. On failure, the next call tries again.
                let _ = self.leader.collect().await;
            }
            if session.cursor.is_waiting() {
                self.ask(&mut session).await?;
                continue;
            }
            if timeout_at(Instant::now() + SILENCE, moved).await.is_err() {
                // As in the binary while the log is silent. On failure, the next call tries again.
                let _ = self.leader.reconcile().await;
            }
        }
    }

    /// Receives the next commits from the server.
    async fn receive(&self, session: &mut Session) -> Result<Vec<Event>, StreamLost> {
        sleep(self.env.millis(0, 3)).await;
        loop {
            self.env.until_running(self.node, self.generation).await;
            if !self.env.db.lock().streams(session.number) {
                return Err(StreamLost);
            }
            let stalled = {
                let faults = self.env.faults.lock();
                faults.log_stalled || faults.cut_database[self.node]
            };
            if !stalled {
                break;
            }
            sleep(Duration::from_millis(100)).await;
        }
        let db = self.env.db.lock();
        let (commits, all) = db.sendable(session.sent, MOST_COMMITS);
        let mut events = Vec::with_capacity(commits.len());
        for (number, commit) in commits.into_iter().map(|number| (number, &db.commits[number])) {
            // The log carries 32 bits of the id.
            session.cursor.commit(commit.lsn, commit.xid as u32);
            self.env.recorder.record(|| {
                let (from, to, at) =
                    (Participant::Log, Participant::Node(self.node), self.env.now());
                let (text, tone) = (format!("commit {}", commit.lsn.0), Tone::Plain);
                Interaction::Message { from, to, left: at, arrived: at, text, tone }
            });
            session.snapshots = 0;
            session.sent = commit.lsn;
            let event = |cause, subjects, renewals| {
                let (lsn, committed_us) = (commit.lsn, 0);
                Event { lsn, cause, committed_us, subjects, renewals }
            };
            let cells = || commit.cells.iter().map(|(cell, _)| *cell);
            if is_told_by_wildcards(number, commit) {
                let subjects = cells().map(wildcard).collect();
                events.push(event(Cause::Purge, subjects, Vec::new()));
            } else {
                let subjects = cells().map(subject).collect();
                events.push(event(Cause::Commit, subjects, self.renewals(number, commit)));
            }
        }
        if all && db.flushed > session.sent {
            session.sent = db.flushed;
            session.cursor.progress(db.flushed);
        }
        Ok(events)
    }

    /// Returns the renewals for values that depend on one row alone; some of them are omitted at
    /// random.
    fn renewals(&self, number: usize, commit: &Commit) -> Vec<Renewal> {
        let values = commit.cells.iter().filter(|(cell, _)| is_row_alone(*cell));
        values
            .filter(|_| self.env.chance(0.8))
            .map(|(cell, present)| Renewal {
                key: key(*cell),
                value: present.then(|| values::encode([number as u64; 3]).into()),
                tags: Vec::new(),
                ttl: policy(*cell).rules.ttl,
            })
            .collect()
    }

    /// Applies a batch to the tiers, with retries until it succeeds.
    async fn publish(&mut self, advance: Advance, mut events: Vec<Event>) {
        let Advance { prev, upto, watermark } = advance;
        let mut tries = 0;
        let moved = loop {
            match self.leader.apply(prev, upto, watermark, &mut events).await {
                Ok(moved) => break moved,
                Err(err) => self.failed(&err, &mut tries).await,
            }
        };
        let events = events.len();
        let what = TraceEvent::Moved { upto: upto.0, watermark: watermark.0, events };
        self.env.note(Some(self.node), what);
        if let ApplyResult::Reset(_) = moved {
            self.env.note(Some(self.node), TraceEvent::Shared("epoch reset", prev.0));
        }
    }

    async fn failed(&self, _: &TierError, tries: &mut u32) {
        *tries += 1;
        sleep(Duration::from_millis(10 << (*tries).min(6))).await;
    }

    async fn confirm(&self, session: &Session) -> Result<(), StreamLost> {
        let confirmable = session.cursor.confirmable();
        let persist = self.env.chance(0.2);
        self.env.until_running(self.node, self.generation).await;
        self.env.db.lock().confirm(session.number, confirmable, persist);
        self.env.note(Some(self.node), TraceEvent::Confirmed(confirmable.0));
        Ok(())
    }

    /// Takes a snapshot of the primary.
    async fn ask(&self, session: &mut Session) -> Result<(), StreamLost> {
        session.snapshots += 1;
        if session.snapshots > PROMPT_SNAPSHOTS {
            sleep(Duration::from_millis(20)).await;
        }
        let left = self.env.now();
        self.transmit().await?;
        let turned = self.env.now();
        let snapshot = {
            let db = self.env.db.lock();
            if !db.up || db.generation != session.server_generation {
                return Err(StreamLost);
            }
            db.snapshot()
        };
        self.transmit().await?;
        self.env.recorder.record_exchange(
            [Participant::Node(self.node), Participant::Database],
            [left, turned, self.env.now()],
            || "visible?".into(),
            || match snapshot.in_progress.is_empty() {
                true => ("everything is".into(), Tone::Plain),
                false => ("✗ one is not yet".into(), Tone::Bad),
            },
        );
        session.cursor.snapshot(&snapshot);
        Ok(())
    }
}

/// Returns whether the transaction changed only tables without contracts and sent wildcard purge
/// requests for the dependent entries. Rows of contracts with a filter are always named.
fn is_told_by_wildcards(number: usize, commit: &Commit) -> bool {
    number % 8 == 7 && !commit.cells.iter().any(|(cell, _)| FILTERED.contains(cell))
}
