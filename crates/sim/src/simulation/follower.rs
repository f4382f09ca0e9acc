//! A node's way along the log, composed as `feed::postgres` and the binary compose it: the slot, the
//! stream, the questions for what is visible, and [`Leader`], which is the product's own.

use std::sync::Arc;
use std::time::Duration;

use cache::leader::{Leader, Moved};
use cache::{Engine, TierError};
use coherence::resume::{Resume, Start};
use coherence::{Cause, Chain, Clock, Event, Link, Log, Lsn, Renewal};
use tokio::time::{Instant, sleep, timeout_at};

use super::check;
use super::database::Commit;
use super::film::{Mood, Shot, Who};
use super::roll::FILTERED;
use super::setup::{is_row_alone, key, policy, subject, wildcard};
use super::stage::{Peer, Stage};
use super::trace::What;

/// Commits in one piece at most.
const MOST_COMMITS: usize = 256;
/// The longest life that a contract gives.
const LONGEST_TTL: Duration = Duration::from_secs(300);
/// After this much silence a session looks whether it is still one.
const SILENCE: Duration = Duration::from_secs(1);
/// So many questions about a commit are asked without a pause (`feed::postgres::visibility`).
const AT_ONCE: u32 = 4;

/// One node's follower.
pub(super) struct Follower {
    stage: Arc<Stage>,
    node: usize,
    life: u64,
    leader: Leader,
    /// The server's life and the connection that was open while this node led or waited.
    witness: Option<(u64, u64)>,
    /// It has led or waited before.
    watched: bool,
    /// The slot was made by an earlier attempt that failed afterwards.
    made: bool,
}

/// A stream that began.
struct Session {
    number: u64,
    server_life: u64,
    start: Start,
    chain: Chain,
    sent: Lsn,
    asked: u32,
}

/// The stream is lost.
struct Lost;

impl Follower {
    pub(super) fn new(
        stage: &Arc<Stage>,
        node: usize,
        life: u64,
        engine: &Engine,
        clock: &Arc<dyn Clock>,
    ) -> Self {
        let leader = Leader::new(engine.clone(), Arc::clone(clock), LONGEST_TTL);
        let stage = Arc::clone(stage);
        Self { stage, node, life, leader, witness: None, watched: false, made: false }
    }

    /// Leads whenever it can, for ever.
    pub(super) async fn run(mut self) {
        let mut backoff = 50;
        loop {
            match self.attempt().await {
                Ok(Some(session)) => {
                    let number = session.number;
                    self.stage.sessions.lock()[self.node] = Some(number);
                    let Err(Lost) = self.session(session).await;
                    self.stage.db.lock().leave(number);
                    backoff = 50;
                }
                Ok(None) => {
                    sleep(self.stage.millis(150, 225)).await;
                    continue;
                }
                Err(Lost) => backoff = (backoff * 2).min(1_000),
            }
            sleep(Duration::from_millis(backoff)).await;
        }
    }

    async fn way(&self) -> Result<(), Lost> {
        self.stage.way(self.node, self.life, Peer::Database).await.map_err(|_| Lost)
    }

    /// `None`: somebody else holds the slot.
    async fn attempt(&mut self) -> Result<Option<Session>, Lost> {
        self.way().await?;
        let connection = self.stage.weather.lock().connections[self.node];
        let taken = {
            let mut db = self.stage.db.lock();
            if !db.up {
                return Err(Lost);
            }
            let here = Some((db.life, connection));
            let unbroken = self.witness == here;
            self.witness = here;
            let taken = db.take_slot();
            taken.map(|(number, position, new)| {
                self.made |= new;
                let Log { system, timeline, server } = db.log;
                let unbroken = self.watched.then_some(unbroken);
                let new_slot = std::mem::take(&mut self.made);
                let start = Start { system, timeline, server, new_slot, unbroken, position };
                let chain = Chain::starting(position, db.draw_xid());
                let (server_life, sent) = (db.life, position);
                Session { number, server_life, start, chain, sent, asked: 0 }
            })
        };
        self.watched = true;
        let new_slot = taken.as_ref().is_some_and(|session| session.start.new_slot);
        if let Err(Lost) = self.way().await {
            // The slot is free again; that it was made by us is not forgotten.
            self.made |= new_slot;
            if let Some(session) = taken {
                self.stage.db.lock().leave(session.number);
            }
            return Err(Lost);
        }
        Ok(taken)
    }

    async fn session(&mut self, mut session: Session) -> Result<std::convert::Infallible, Lost> {
        let mut tries = 0;
        let (verdict, watermark) = loop {
            match self.leader.start(session.start).await {
                Ok(begun) => break begun,
                Err(err) => self.failed(&err, &mut tries).await,
            }
        };
        let (Resume::Begin(epoch) | Resume::Continue(epoch)) = verdict;
        self.stage.note(
            Some(self.node),
            What::Lead {
                position: session.start.position.0,
                began: matches!(verdict, Resume::Begin(_)),
                incarnation: epoch.incarnation,
            },
        );
        session.chain.seen(watermark);
        loop {
            let stage = Arc::clone(&self.stage);
            let mut moved = std::pin::pin!(stage.log_moved.notified());
            // From here on no ringing is missed.
            moved.as_mut().enable();
            let events = self.receive(&mut session).await?;
            if let Some(link) = session.chain.tell() {
                self.hand_on(link, events).await;
                session.chain.ack(link.upto);
                self.confirm(&session).await?;
                // What has become old meanwhile: tombstones. If it fails, the next call tries again.
                let _ = self.leader.collect().await;
            }
            if session.chain.is_waiting() {
                self.ask(&mut session).await?;
                continue;
            }
            if timeout_at(Instant::now() + SILENCE, moved).await.is_err() {
                // As the binary does while the log is silent; if it fails, the next time tries again.
                let _ = self.leader.tend().await;
            }
        }
    }

    /// Takes what the server has sent.
    async fn receive(&self, session: &mut Session) -> Result<Vec<Event>, Lost> {
        sleep(self.stage.millis(0, 3)).await;
        loop {
            self.stage.awake(self.node, self.life).await;
            if !self.stage.db.lock().streams(session.number) {
                return Err(Lost);
            }
            let stands = {
                let weather = self.stage.weather.lock();
                weather.log_stalled || weather.cut_database[self.node]
            };
            if !stands {
                break;
            }
            sleep(Duration::from_millis(100)).await;
        }
        let db = self.stage.db.lock();
        let (commits, all) = db.sendable(session.sent, MOST_COMMITS);
        let mut events = Vec::with_capacity(commits.len());
        for (number, commit) in commits.into_iter().map(|number| (number, &db.commits[number])) {
            // The log carries 32 bits of the id.
            session.chain.commit(commit.lsn, commit.xid as u32);
            self.stage.film.shoot(|| {
                let (from, to, at) = (Who::Log, Who::Node(self.node), self.stage.now());
                let (text, mood) = (format!("commit {}", commit.lsn.0), Mood::Plain);
                Shot::Said { from, to, left: at, arrived: at, text, mood }
            });
            session.asked = 0;
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
            session.chain.progress(db.flushed);
        }
        Ok(events)
    }

    /// What the log tells of values that are made from a row alone; now and then it does not tell all.
    fn renewals(&self, number: usize, commit: &Commit) -> Vec<Renewal> {
        let told = commit.cells.iter().filter(|(cell, _)| is_row_alone(*cell));
        told.filter(|_| self.stage.chance(0.8))
            .map(|(cell, present)| Renewal {
                key: key(*cell),
                value: present.then(|| check::encode([number as u64; 3]).into()),
                tags: Vec::new(),
                ttl: policy(*cell).ttl,
            })
            .collect()
    }

    /// Moves the tiers: at least once, whatever it takes.
    async fn hand_on(&mut self, link: Link, mut events: Vec<Event>) {
        let Link { prev, upto, watermark } = link;
        let mut tries = 0;
        let moved = loop {
            match self.leader.apply(prev, upto, watermark, &mut events).await {
                Ok(moved) => break moved,
                Err(err) => self.failed(&err, &mut tries).await,
            }
        };
        let events = events.len();
        let what = What::Moved { upto: upto.0, watermark: watermark.0, events };
        self.stage.note(Some(self.node), what);
        if let Moved::BegunAnew(_) = moved {
            self.stage.note(Some(self.node), What::Shared("begun anew", prev.0));
        }
    }

    async fn failed(&self, _: &TierError, tries: &mut u32) {
        *tries += 1;
        sleep(Duration::from_millis(10 << (*tries).min(6))).await;
    }

    async fn confirm(&self, session: &Session) -> Result<(), Lost> {
        let forgettable = session.chain.forgettable();
        let persist = self.stage.chance(0.2);
        self.stage.awake(self.node, self.life).await;
        self.stage.db.lock().confirm(session.number, forgettable, persist);
        self.stage.note(Some(self.node), What::Confirmed(forgettable.0));
        Ok(())
    }

    /// Asks the primary what new snapshots see.
    async fn ask(&self, session: &mut Session) -> Result<(), Lost> {
        session.asked += 1;
        if session.asked > AT_ONCE {
            sleep(Duration::from_millis(20)).await;
        }
        let left = self.stage.now();
        self.way().await?;
        let turned = self.stage.now();
        let snapshot = {
            let db = self.stage.db.lock();
            if !db.up || db.life != session.server_life {
                return Err(Lost);
            }
            db.snapshot()
        };
        self.way().await?;
        self.stage.film.dialogue(
            [Who::Node(self.node), Who::Database],
            [left, turned, self.stage.now()],
            || "visible?".into(),
            || match snapshot.in_progress.is_empty() {
                true => ("everything is".into(), Mood::Plain),
                false => ("✗ one is not yet".into(), Mood::Bad),
            },
        );
        session.chain.snapshot(&snapshot);
        Ok(())
    }
}

/// Whether the transaction touched what no contract follows, and ordered a purge of what is made from it.
/// Rows of contracts with a filter come and go by name.
fn is_told_by_wildcards(number: usize, commit: &Commit) -> bool {
    number % 8 == 7 && !commit.cells.iter().any(|(cell, _)| FILTERED.contains(cell))
}

/// Asks the primary how long its log is, as the binary's sampler does.
pub(super) async fn sample(
    stage: Arc<Stage>,
    node: usize,
    life: u64,
    engine: Engine,
    clock: Arc<dyn Clock>,
) {
    const STUCK: Duration = Duration::from_millis(500);
    let mut behind_since = None;
    loop {
        sleep(stage.setup.sample_every).await;
        stage.awake(node, life).await;
        let (left, asked) = (stage.now(), clock.mono());
        let there = stage.way(node, life, Peer::Database).await;
        let turned = stage.now();
        let end = {
            let db = stage.db.lock();
            (there.is_ok() && db.up).then(|| (Log { server: 0, ..db.log }, db.end))
        };
        let Some((log, end)) = end else { continue };
        if stage.way(node, life, Peer::Database).await.is_err() {
            continue;
        }
        stage.film.dialogue(
            [Who::Node(node), Who::Database],
            [left, turned, stage.now()],
            || "end of the log?".into(),
            || (end.0.to_string(), Mood::Faint),
        );
        engine.sample(log, asked, end);
        stage.note(Some(node), What::Sampled(end.0));
        if engine.standing().applied >= end {
            behind_since = None;
            continue;
        }
        let since = *behind_since.get_or_insert(asked);
        if clock.mono().since(since) >= STUCK {
            behind_since = None;
            if stage.way(node, life, Peer::Database).await.is_ok() {
                stage.nudge();
            }
        }
    }
}
