//! The loop that carries out the auditor's checks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cache::audit::{
    AuditReport, Auditor, AuditorOptions, AuditorStep, Check, EngineEvent, EngineObserver,
    LoadTarget, Observation,
};
use cache::{Chance, Content, Engine, Origin, Policy, TierEntry};
use coherence::Clock;
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::metrics::AuditMetrics;
use super::options::AuditOptions;
use super::peers::{PeerClient, Peers};
use super::tap::{AnswerSampler, EventQueue};

/// Events processed between two checks.
const EVENTS_PER_STEP: usize = 256;

/// The time limit of the database for one answer, and the longest pause of the loop.
const LOAD_TIMEOUT: Duration = Duration::from_secs(2);

/// The share of the reads that compares stored entries in turn.
const STORED_SHARE: f64 = 0.25;

/// Checks in flight, so that one that waits for a slow node does not hold up the others.
const CHECKS_IN_FLIGHT: usize = 8;

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
    events: tokio::sync::Mutex<mpsc::Receiver<EngineEvent>>,
    queue: Arc<EventQueue>,
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
        let (queue, events) = EventQueue::new();
        let salt: Arc<str> = format!("{:016x}{:016x}", chance.draw(), chance.draw()).into();
        let auditor_options = AuditorOptions {
            reads_per_second: options.reads_per_second,
            stored_per_second: options.reads_per_second * STORED_SHARE,
            salt: Arc::clone(&salt),
            ..AuditorOptions::default()
        };
        let peers = Peers::new(&options.peers, client, Arc::clone(clock), salt);
        let budget = |(name, target): (&Arc<str>, &AuditTarget)| {
            (Arc::clone(name), target.policy.rules.budget)
        };
        let auditor = Auditor::new(auditor_options, targets.iter().map(budget), clock.mono())
            .with_peers(peers.names());
        Arc::new(Self {
            auditor: Mutex::new(auditor),
            engine: engine.clone(),
            targets,
            peers,
            clock: Arc::clone(clock),
            chance,
            events: tokio::sync::Mutex::new(events),
            queue: Arc::new(queue),
            sample_share: options.sample_share,
            metrics: AuditMetrics::new(registry),
        })
    }

    /// Subscribes to the engine's events. Returns the sampler for the answers that clients get; `None` where
    /// nothing is audited or no answers are sampled.
    #[must_use]
    pub fn observe(&self) -> Option<AnswerSampler> {
        if self.targets.is_empty() {
            return None;
        }
        self.engine.set_observer(Arc::clone(&self.queue) as Arc<dyn EngineObserver>);
        (self.sample_share > 0.0).then(|| {
            AnswerSampler::new(Arc::clone(&self.queue), Arc::clone(&self.chance), self.sample_share)
        })
    }

    /// Audits until it is dropped.
    pub async fn run(self: &Arc<Self>) {
        let mut events = self.events.lock().await;
        let mut received = Vec::new();
        let mut checks = JoinSet::new();
        loop {
            let now = self.clock.mono();
            let free = checks.len() < CHECKS_IN_FLIGHT;
            let step = if free { self.auditor.lock().next(now) } else { AuditorStep::Idle(None) };
            match step {
                AuditorStep::Check(check) => {
                    let audit = Arc::clone(self);
                    checks.spawn(async move {
                        let observation = audit.carry_out(&check).await;
                        audit.auditor.lock().complete(&check, &observation);
                    });
                    while received.len() < EVENTS_PER_STEP
                        && let Ok(event) = events.try_recv()
                    {
                        received.push(event);
                    }
                }
                AuditorStep::Idle(until) => {
                    let pause = until.map_or(LOAD_TIMEOUT, |at| at.since(now));
                    tokio::select! {
                        _ = events.recv_many(&mut received, EVENTS_PER_STEP) => {}
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
    pub fn report(&self) -> AuditReport {
        self.auditor.lock().report()
    }

    fn process(&self, received: &mut Vec<EngineEvent>) {
        let (now, wall_us) = (self.clock.mono(), self.clock.wall_us());
        let mut auditor = self.auditor.lock();
        for event in received.drain(..) {
            auditor.observe(event, now, wall_us);
        }
        auditor.set_dropped(self.queue.dropped());
        self.metrics.update(auditor.counts());
    }

    /// Reads the tiers of all nodes first and the database afterwards, so that the tiers' entries can't be
    /// newer than the database's answer.
    async fn carry_out(&self, check: &Check) -> Observation {
        let at = self.clock.mono();
        let epoch = self.engine.status().epoch;
        let (entries, peers) =
            tokio::join!(self.inspect(&check.target), self.peers.ask(&check.target));
        let loaded = match entries {
            Some(_) => self.load(&check.target).await,
            None => None,
        };
        let found = entries.zip(loaded);
        let visible_since = check.event.and_then(|commit| self.engine.visible_since(commit));
        Observation {
            at,
            done: self.clock.mono(),
            wall_ms: self.clock.wall_ms(),
            found,
            visible_since,
            epoch,
            peers,
        }
    }

    async fn inspect(&self, target: &LoadTarget) -> Option<Vec<TierEntry>> {
        let policy = &self.targets.get(&target.contract)?.policy;
        match self.engine.inspect(&target.key, policy).await {
            Ok(entries) => Some(entries),
            Err(err) => {
                tracing::debug!(key = %target.key, error = %err, "a tier could not be audited");
                None
            }
        }
    }

    async fn load(&self, target: &LoadTarget) -> Option<Content> {
        let load = self.targets.get(&target.contract)?.origin.load(&target.key, &target.id);
        match tokio::time::timeout(LOAD_TIMEOUT, load).await {
            Ok(Ok(loaded)) => Some(loaded.content),
            Ok(Err(err)) => {
                tracing::debug!(key = %target.key, error = %err, "the database could not be read");
                None
            }
            Err(_) => None,
        }
    }
}
