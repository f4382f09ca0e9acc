//! A node: the product's engine and its followers, on virtual time, network and servers.

use std::sync::Arc;

use cache::{Answer, Chance, Engine, Item, Metrics, Origin, Policy, ReadError};
use coherence::{CausalToken, Clock};
use contract::Key;
use parking_lot::Mutex;
use rand::{Rng, RngExt, SeedableRng};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::checks;
use super::environment::{Environment, NodeClock};
use super::follower::Follower;
use super::key_scan;
use super::recorder::{self, Interaction, Participant, Tone};
use super::rows_origin::RowsOrigin;
use super::sampler::sample;
use super::setup::{self, ALONE_LIMIT, KEYS, READ_LIMIT, SimRng};
use super::shared_remote::RemoteTier;
use super::standby_origin::StandbyOrigin;

/// A process.
pub(super) struct Node {
    env: Arc<Environment>,
    pub(super) id: usize,
    pub(super) generation: u64,
    pub(super) engine: Engine,
    pub(super) policies: Vec<Arc<Policy>>,
    keys: Vec<Key>,
    origin: Arc<dyn Origin>,
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
        options.chance = Arc::new(Seeded(Mutex::new(SimRng::seed_from_u64(seed))));
        let shared = Arc::new(RemoteTier { env: Arc::clone(env), node: id, generation });
        let engine = Engine::new(options, shared, Arc::clone(&clock), Metrics::detached());
        let follows = engine.clone();
        let follower = Follower::new(env, id, generation, &engine, &clock);
        let standby = env.setup.standby_lag_ms.map(|_| StandbyOrigin::new(env, id, generation));
        let mut tasks = vec![
            env.spawn(async move { follows.follow(std::future::pending()).await }),
            env.spawn(sample(Arc::clone(env), id, generation, engine.clone(), clock)),
            env.spawn(follower.run()),
        ];
        tasks.extend(standby.clone().map(|standby| env.spawn(standby.watch())));
        let standbys: Vec<Arc<dyn Origin>> =
            standby.into_iter().map(|standby| standby as Arc<dyn Origin>).collect();
        let rows = RowsOrigin { env: Arc::clone(env), node: id, generation, standbys };
        let origin: Arc<dyn Origin> = Arc::new(rows);
        let policies: Vec<Arc<Policy>> = (0..=KEYS).map(setup::policy).collect();
        for key in setup::FILTERED.into_iter().filter(|_| env.setup.filters) {
            let (policy, origin) = (Arc::clone(&policies[key]), Arc::clone(&origin));
            tasks.push(env.spawn(key_scan::maintain(engine.clone(), policy, origin)));
        }
        Arc::new(Self {
            env: Arc::clone(env),
            id,
            generation,
            engine,
            policies,
            keys: (0..=KEYS).map(setup::key).collect(),
            origin,
            tasks,
        })
    }

    fn is_alive(&self) -> bool {
        self.env.is_alive(self.id, self.generation)
    }

    /// Reads from the in-process tier alone, and checks the answer.
    pub(super) fn peek(&self, key: usize) -> Option<Answer> {
        let answer = self.engine.peek(&self.keys[key], &self.policies[key])?;
        let status = self.engine.status();
        if let Some(epoch) = status.epoch {
            let what = "the in-process tier's entry";
            let content = &answer.entry.content;
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
