//! A node: the product's engine and its loops, on virtual time, network and servers.

use std::sync::Arc;

use cache::{Answer, Chance, Engine, Item, Metrics, Origin, Policy, ReadError};
use coherence::{CausalToken, Cause, Clock, Coverage, SamplePace, Subject};
use contract::Key;
use feed::Source;
use feed::postgres::SlotFeed;
use node::{
    FollowMetrics, Follower, FollowerParts, Health, InvalidationError, InvalidationRequest,
    Journal, LogInvalidator, LogSampler, Renewer, StandbyMetrics, StandbyProbe, watch_standby,
};
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use rand::{Rng, RngExt, SeedableRng};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::checks;
use super::contracts::{self, SOURCE};
use super::environment::{Environment, NodeClock};
use super::key_scan;
use super::log_source::LogSource;
use super::recorder::{self, Interaction, Participant, Tone};
use super::rows_origin::RowsOrigin;
use super::setup::{ALONE_LIMIT, KEYS, READ_LIMIT, SimRng};
use super::shared_remote::RemoteTier;
use super::slot_candidate::SlotCandidate;
use super::standby_origin::StandbyOrigin;
use super::trace::TraceEvent;

/// The number of invalidations that a node's journal keeps.
const JOURNAL: usize = 16;

/// A process.
pub(super) struct Node {
    env: Arc<Environment>,
    pub(super) id: usize,
    pub(super) generation: u64,
    pub(super) engine: Engine,
    pub(super) policies: Vec<Arc<Policy>>,
    keys: Vec<Key>,
    origin: Arc<dyn Origin>,
    invalidator: LogInvalidator,
    /// What the loops report about themselves.
    pub(super) health: Arc<Health>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Node {
    /// Kills the process. Its single flights go on as tasks, but get no answers.
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Node {
    pub(super) fn boot(env: &Arc<Environment>, id: usize) -> Arc<Self> {
        let generation = env.faults.lock().generations[id];
        let (seed, offset) = env
            .draw(|rng| (rng.next_u64(), rng.random_range(1_000_000_000..1_000_000_000_000_000)));
        let clock: Arc<dyn Clock> = Arc::new(NodeClock { env: Arc::clone(env), node: id, offset });
        let mut options = env.setup.engine();
        let chance: Arc<dyn Chance> = Arc::new(Seeded(Mutex::new(SimRng::seed_from_u64(seed))));
        options.chance = Arc::clone(&chance);
        options.coverage = Coverage::of(contracts::contracts().mappings());
        let shared = Arc::new(RemoteTier { env: Arc::clone(env), node: id, generation });
        let engine = Engine::new(options, shared, Arc::clone(&clock), Metrics::detached());
        let source = Arc::new(LogSource::new(env, id, generation));
        let health = Arc::new(Health::default());
        let standby = env.setup.standby_lag_ms.map(|_| StandbyOrigin::new(env, id, generation));
        let standbys = standby.iter().map(|standby| Arc::clone(standby) as Arc<dyn Origin>);
        let rows =
            RowsOrigin { env: Arc::clone(env), node: id, generation, standbys: standbys.collect() };
        let mut node = Self {
            env: Arc::clone(env),
            id,
            generation,
            policies: contracts::policies(),
            keys: (0..=KEYS).map(contracts::key).collect(),
            origin: Arc::new(rows),
            invalidator: LogInvalidator::new(
                engine.clone(),
                Arc::clone(&source) as Arc<dyn Source>,
                Arc::clone(&clock),
                Arc::clone(&chance),
                contracts::contracts(),
            ),
            engine,
            health,
            tasks: Vec::new(),
        };
        node.tasks = node.spawn_loops(&source, standby, &clock, chance);
        Arc::new(node)
    }

    /// Spawns the loops that the binary spawns.
    fn spawn_loops(
        &self,
        source: &Arc<LogSource>,
        standby: Option<Arc<StandbyOrigin>>,
        clock: &Arc<dyn Clock>,
        chance: Arc<dyn Chance>,
    ) -> Vec<JoinHandle<()>> {
        let (env, id, engine) = (&self.env, self.id, &self.engine);
        let sampler = LogSampler::new(
            engine.clone(),
            Arc::clone(source) as Arc<dyn Source>,
            Arc::clone(clock),
            Arc::clone(&self.health),
            SamplePace::constant(env.setup.sample_every),
        );
        let contracts = contracts::contracts();
        let renewer = Renewer::new(SOURCE, &contracts, Arc::clone(source) as _, chance);
        let candidate = SlotCandidate::new(env, id, self.generation, clock);
        let feed = SlotFeed::of(candidate, SOURCE.into(), feed::Metrics::default());
        let parts = FollowerParts {
            engine: engine.clone(),
            source: Arc::clone(source) as Arc<dyn Source>,
            contracts,
            clock: Arc::clone(clock),
            health: Arc::clone(&self.health),
            journal: Arc::new(Journal::new(JOURNAL)),
            metrics: FollowMetrics::new(&mut Registry::default()),
            longest_ttl: contracts::longest_ttl(),
            slot: "tidegate".into(),
            label: "the simulated database".into(),
        };
        let follower = Follower::new(Box::new(feed), renewer, parts);
        let (follows, alarm) = (engine.clone(), Arc::clone(env));
        let mut tasks = vec![
            env.spawn(async move { follows.follow(std::future::pending()).await }),
            env.spawn(sampler.run()),
            env.spawn(async move {
                let err = follower.run().await;
                alarm.violation(format!("node {id} has stopped to follow the log: {err}"));
            }),
        ];
        tasks.extend(standby.map(|standby| {
            let probe = standby as Arc<dyn StandbyProbe>;
            env.spawn(watch_standby(
                probe,
                engine.clone(),
                env.setup.sample_every,
                StandbyMetrics::default(),
            ))
        }));
        for (key, contract) in contracts::filtered().filter(|_| env.setup.filters) {
            let (policy, origin) = (Arc::clone(&self.policies[key]), Arc::clone(&self.origin));
            tasks.push(env.spawn(key_scan::maintain(engine.clone(), contract, policy, origin)));
        }
        tasks
    }

    fn is_alive(&self) -> bool {
        self.env.is_alive(self.id, self.generation)
    }

    /// Sends a purge request through the log.
    pub(super) async fn purge(&self, subject: Subject) {
        let request = InvalidationRequest::new(Cause::Purge, vec![subject]);
        let request = request.expect("one subject is a valid request");
        let applied = self.invalidator.invalidate(request).await;
        let failed = |err: &InvalidationError| match err {
            InvalidationError::NotLogged { .. } => "not logged",
            InvalidationError::NotApplied { .. } => "not applied",
            InvalidationError::Busy => "busy",
            InvalidationError::Invalid(_) | InvalidationError::NotScanned { .. } => "invalid",
        };
        let result = applied.as_ref().map_or_else(failed, |_| "applied");
        let position = applied.as_ref().map_or(0, |receipt| receipt.position.0);
        self.env.note(Some(self.id), TraceEvent::Purge(result, position));
    }

    /// Reads from the in-process tier alone, and checks the answer.
    pub(super) fn peek(&self, key: usize) -> Option<Answer> {
        let answer = self.engine.peek(&self.keys[key], &self.policies[key])?;
        let status = self.engine.status();
        if let Some(epoch) = status.epoch {
            let what = "the in-process tier's entry";
            let content = &answer.entry.content();
            checks::check_entry(&self.env, what, Some(key), content, epoch, status.applied);
        }
        let question = checks::Question { node: self.id, key, asked: self.env.now() };
        let result = Ok(answer);
        checks::check_answer(&self.env, question, &self.policies[key], &result);
        result.ok()
    }

    /// Reads, and checks the answer. `None` if the process died meanwhile.
    pub(super) async fn get(
        &self,
        key: usize,
        after: Option<CausalToken>,
    ) -> Option<Result<Answer, ReadError>> {
        let question = checks::Question { node: self.id, key, asked: self.env.now() };
        let (name, policy) = (&self.keys[key], &self.policies[key]);
        let id = key.to_string();
        let (reader, node) = (Participant::Reader, Participant::Node(self.id));
        self.env.recorder.record(|| {
            let (at, text) = (question.asked, "read".into());
            Interaction::Message {
                from: reader,
                to: node,
                left: at,
                arrived: at,
                text,
                tone: Tone::Plain,
            }
        });
        let read = async {
            match after {
                None => self.engine.get(name, &id, policy, &self.origin).await,
                after => self.engine.get_after(name, &id, policy, &self.origin, after).await,
            }
        };
        let stopped = self.env.faults.lock().stopped_until[self.id];
        let limit = if policy.rules.tiers.is_none() { ALONE_LIMIT } else { READ_LIMIT };
        let Ok(result) = timeout(limit, read).await else {
            let same = stopped == self.env.faults.lock().stopped_until[self.id];
            if self.is_alive() && same {
                let node = self.id;
                self.env.violation(format!("a read of row {key} on node {node} hangs"));
            }
            return None;
        };
        if !self.is_alive() {
            return None;
        }
        self.env.recorder.record(|| {
            let (at, (text, tone)) = (self.env.now(), recorder::answer(&result));
            Interaction::Message { from: node, to: reader, left: at, arrived: at, text, tone }
        });
        checks::check_answer(&self.env, question, policy, &result);
        Some(result)
    }
}

impl Node {
    /// Reads several rows as an atomic batch, and checks the answers.
    pub(super) async fn get_batch(&self, keys: &[usize]) {
        let asked = self.env.now();
        let item = |key: &usize| Item {
            key: self.keys[*key].clone(),
            id: key.to_string().into(),
            policy: Arc::clone(&self.policies[*key]),
            origin: Arc::clone(&self.origin),
        };
        let items: Vec<Item> = keys.iter().map(item).collect();
        let read = timeout(ALONE_LIMIT, self.engine.get_atomic(&items, None));
        let Ok(Ok(together)) = read.await else { return };
        if !self.is_alive() {
            return;
        }
        for (key, answer) in keys.iter().zip(&together.answers) {
            if answer.is_ok() {
                let question = checks::Question { node: self.id, key: *key, asked };
                checks::check_answer(&self.env, question, &self.policies[*key], answer);
            }
        }
        checks::check_batch(&self.env, self.id, keys, &together);
    }
}

/// The random numbers of a node.
#[derive(Debug)]
struct Seeded(Mutex<SimRng>);

impl Chance for Seeded {
    fn draw(&self) -> u64 {
        self.0.lock().next_u64()
    }
}
