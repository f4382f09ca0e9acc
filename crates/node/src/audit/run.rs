//! The loop that carries out the auditor's checks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cache::audit::{Auditor, Look, Named, Note, Options, Question, Report, Step, Witness};
use cache::{Chance, Content, Engine, Holding, Origin, Policy};
use coherence::Clock;
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::metrics::AuditMetrics;
use super::peers::{PeerClient, Peers};
use super::tap::{AnswerSampler, NoteQueue};

/// Notes processed between two checks.
const NOTES_PER_STEP: usize = 256;

/// The time limit of the database for one answer, and the longest pause of the loop.
const LOAD_TIMEOUT: Duration = Duration::from_secs(2);

/// Checks in flight, so that one that waits for a slow node does not hold up the others.
const CHECKS_IN_FLIGHT: usize = 8;

/// How answers are audited.
#[derive(Clone, Debug)]
pub struct AuditOptions {
    /// Reads of the database per second, on average.
    pub reads_per_second: f64,
    /// The share of clients' answers that is compared with the database, from 0 to 1.
    pub sample_share: f64,
    /// The names by which [`PeerClient`] finds the other nodes.
    pub peers: Vec<String>,
}

/// A contract's query, loaded over connections of the auditor's own.
pub struct AuditTarget {
    /// The contract's policy.
    pub policy: Arc<Policy>,
    /// The database.
    pub origin: Arc<dyn Origin>,
}

/// A node's auditor.
pub struct AuditLoop {
    auditor: Mutex<Auditor>,
    engine: Engine,
    targets: BTreeMap<Arc<str>, AuditTarget>,
    peers: Peers,
    clock: Arc<dyn Clock>,
    chance: Arc<dyn Chance>,
    notes: tokio::sync::Mutex<mpsc::Receiver<Note>>,
    queue: Arc<NoteQueue>,
    sample_share: f64,
    metrics: AuditMetrics,
}

impl AuditLoop {
    /// Creates an auditor of `engine`'s tiers. `targets` are the audited contracts by name; with none,
    /// nothing is audited. `chance` salts digests and draws samples.
    #[must_use]
    pub fn new(
        options: &AuditOptions,
        engine: &Engine,
        targets: BTreeMap<Arc<str>, AuditTarget>,
        client: Arc<dyn PeerClient>,
        clock: &Arc<dyn Clock>,
        chance: Arc<dyn Chance>,
        registry: &mut Registry,
    ) -> Arc<Self> {
        let (queue, notes) = NoteQueue::new();
        let salt: Arc<str> = format!("{:016x}{:016x}", chance.draw(), chance.draw()).into();
        let auditor_options = Options {
            reads_per_second: options.reads_per_second,
            salt: Arc::clone(&salt),
            ..Options::default()
        };
        let peers = Peers::new(&options.peers, client, Arc::clone(clock), salt);
        let budget =
            |(name, target): (&Arc<str>, &AuditTarget)| (Arc::clone(name), target.policy.budget);
        let auditor = Auditor::new(auditor_options, targets.iter().map(budget), clock.mono())
            .with_peers(peers.names());
        Arc::new(Self {
            auditor: Mutex::new(auditor),
            engine: engine.clone(),
            targets,
            peers,
            clock: Arc::clone(clock),
            chance,
            notes: tokio::sync::Mutex::new(notes),
            queue: Arc::new(queue),
            sample_share: options.sample_share,
            metrics: AuditMetrics::new(registry),
        })
    }

    /// Subscribes to the engine's notes. Returns the sampler for the answers that clients get; `None` where
    /// nothing is audited or no answers are sampled.
    #[must_use]
    pub fn observe(&self) -> Option<AnswerSampler> {
        if self.targets.is_empty() {
            return None;
        }
        self.engine.witness(Arc::clone(&self.queue) as Arc<dyn Witness>);
        (self.sample_share > 0.0).then(|| {
            AnswerSampler::new(Arc::clone(&self.queue), Arc::clone(&self.chance), self.sample_share)
        })
    }

    /// Audits until it is dropped.
    pub async fn run(self: &Arc<Self>) {
        let mut notes = self.notes.lock().await;
        let mut received = Vec::new();
        let mut checks = JoinSet::new();
        loop {
            let now = self.clock.mono();
            let free = checks.len() < CHECKS_IN_FLIGHT;
            let step = if free { self.auditor.lock().next(now) } else { Step::Idle(None) };
            match step {
                Step::Ask(question) => {
                    let audit = Arc::clone(self);
                    checks.spawn(async move {
                        let look = audit.look(&question).await;
                        audit.auditor.lock().answered(&question, &look);
                    });
                    while received.len() < NOTES_PER_STEP
                        && let Ok(note) = notes.try_recv()
                    {
                        received.push(note);
                    }
                }
                Step::Idle(until) => {
                    let pause = until.map_or(LOAD_TIMEOUT, |at| at.since(now));
                    tokio::select! {
                        _ = notes.recv_many(&mut received, NOTES_PER_STEP) => {}
                        Some(_) = checks.join_next() => {}
                        () = tokio::time::sleep(pause) => {}
                    }
                }
            }
            while checks.try_join_next().is_some() {}
            self.process(&mut received);
        }
    }

    /// Returns all counts and findings so far.
    #[must_use]
    pub fn report(&self) -> Report {
        self.auditor.lock().report()
    }

    fn process(&self, received: &mut Vec<Note>) {
        let (now, wall_us) = (self.clock.mono(), self.clock.wall_us());
        let mut auditor = self.auditor.lock();
        for note in received.drain(..) {
            auditor.note(note, now, wall_us);
        }
        auditor.dropped(self.queue.dropped());
        self.metrics.update(auditor.counts());
    }

    /// Reads the tiers of all nodes first and the database afterwards, so that the tiers' entries can't be
    /// newer than the database's answer.
    async fn look(&self, question: &Question) -> Look {
        let at = self.clock.mono();
        let epoch = self.engine.standing().epoch;
        let (holdings, peers) =
            tokio::join!(self.inspect(&question.named), self.peers.ask(&question.named));
        let loaded = match holdings {
            Some(_) => self.load(&question.named).await,
            None => None,
        };
        let seen = holdings.zip(loaded);
        let shown = question.event.and_then(|commit| self.engine.shown(commit));
        Look {
            at,
            done: self.clock.mono(),
            wall_ms: self.clock.wall_ms(),
            seen,
            shown,
            epoch,
            peers,
        }
    }

    async fn inspect(&self, named: &Named) -> Option<Vec<Holding>> {
        let policy = &self.targets.get(&named.contract)?.policy;
        match self.engine.inspect(&named.key, policy).await {
            Ok(holdings) => Some(holdings),
            Err(err) => {
                tracing::debug!(key = %named.key, error = %err, "a tier could not be audited");
                None
            }
        }
    }

    async fn load(&self, named: &Named) -> Option<Content> {
        let load = self.targets.get(&named.contract)?.origin.load(&named.key, &named.id);
        match tokio::time::timeout(LOAD_TIMEOUT, load).await {
            Ok(Ok(loaded)) => Some(loaded.content),
            Ok(Err(err)) => {
                tracing::debug!(key = %named.key, error = %err, "the database could not be read");
                None
            }
            Err(_) => None,
        }
    }
}
