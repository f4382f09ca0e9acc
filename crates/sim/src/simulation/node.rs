//! A node: the product's engine with its followers, on virtual everything.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cache::{
    Answer, Ask, Chance, Content, Engine, Item, Loaded, LoadedMany, Metrics, Origin, OriginError,
    OriginErrorKind, Policy, ReadError, Value,
};
use coherence::{After, Clock};
use contract::Key;
use parking_lot::Mutex;
use rand::{Rng, RngExt, SeedableRng};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::check;
use super::database::Database;
use super::follower::{Follower, sample};
use super::server::Remote;
use super::setup::{self, ALONE_LIMIT, Dice, KEYS, READ_LIMIT};
use super::stage::{NodeClock, Peer, Stage};
use super::trace::What;

/// A process.
pub(super) struct Node {
    stage: Arc<Stage>,
    pub(super) id: usize,
    pub(super) life: u64,
    pub(super) engine: Engine,
    pub(super) policies: Vec<Arc<Policy>>,
    keys: Vec<Key>,
    origin: Arc<dyn Origin>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Node {
    /// The process dies. Its flights go on as tasks, but get no answers any more.
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Node {
    pub(super) fn boot(stage: &Arc<Stage>, id: usize) -> Arc<Self> {
        let life = stage.weather.lock().lives[id];
        let (seed, offset) = stage.draw(|dice| {
            (dice.next_u64(), dice.random_range(1_000_000_000..1_000_000_000_000_000))
        });
        let clock: Arc<dyn Clock> =
            Arc::new(NodeClock { stage: Arc::clone(stage), node: id, offset });
        let mut options = stage.setup.engine();
        options.chance = Arc::new(Seeded(Mutex::new(Dice::seed_from_u64(seed))));
        let shared = Arc::new(Remote { stage: Arc::clone(stage), node: id, life });
        let engine = Engine::new(options, shared, Arc::clone(&clock), Metrics::detached());
        let follows = engine.clone();
        let follower = Follower::new(stage, id, life, &engine, &clock);
        let tasks = vec![
            stage.spawn(async move { follows.follow(std::future::pending()).await }),
            stage.spawn(sample(Arc::clone(stage), id, life, engine.clone(), clock)),
            stage.spawn(follower.run()),
        ];
        Arc::new(Self {
            stage: Arc::clone(stage),
            id,
            life,
            engine,
            policies: (0..=KEYS).map(setup::policy).collect(),
            keys: (0..=KEYS).map(setup::key).collect(),
            origin: Arc::new(Rows { stage: Arc::clone(stage), node: id, life }),
            tasks,
        })
    }

    fn counts(&self) -> bool {
        self.stage.is_alive(self.id, self.life)
    }

    /// Asks the in-process tier alone, and judges its answer.
    pub(super) fn peek(&self, key: usize) -> Option<Answer> {
        let answer = self.engine.peek(&self.keys[key], &self.policies[key])?;
        let standing = self.engine.standing();
        if let Some(epoch) = standing.epoch {
            let what = "the in-process tier's entry";
            let content = &answer.entry.content;
            check::holds(&self.stage, what, Some(key), content, epoch, standing.applied);
        }
        let question = check::Question { node: self.id, key, asked: self.stage.now() };
        let result = Ok(answer);
        check::judge(&self.stage, question, &self.policies[key], &result);
        result.ok()
    }

    /// Reads, and judges the answer. `None`: the process died meanwhile.
    pub(super) async fn get(
        &self,
        key: usize,
        after: Option<After>,
    ) -> Option<Result<Answer, ReadError>> {
        let question = check::Question { node: self.id, key, asked: self.stage.now() };
        let (name, policy) = (&self.keys[key], &self.policies[key]);
        let id = key.to_string();
        let read = async {
            match after {
                None => self.engine.get(name, &id, policy, &self.origin).await,
                after => self.engine.get_after(name, &id, policy, &self.origin, after).await,
            }
        };
        let stopped = self.stage.weather.lock().stopped_until[self.id];
        let limit = if policy.tiers.is_none() { ALONE_LIMIT } else { READ_LIMIT };
        let Ok(result) = timeout(limit, read).await else {
            let same = stopped == self.stage.weather.lock().stopped_until[self.id];
            if self.counts() && same {
                let node = self.id;
                self.stage.violation(format!("a read of row {key} on node {node} hangs"));
            }
            return None;
        };
        if !self.counts() {
            return None;
        }
        check::judge(&self.stage, question, policy, &result);
        Some(result)
    }
}

impl Node {
    /// Reads several rows as of one moment, and judges the answers.
    pub(super) async fn get_together(&self, keys: &[usize]) {
        let asked = self.stage.now();
        let item = |key: &usize| Item {
            key: self.keys[*key].clone(),
            id: key.to_string().into(),
            policy: Arc::clone(&self.policies[*key]),
            origin: Arc::clone(&self.origin),
        };
        let items: Vec<Item> = keys.iter().map(item).collect();
        let read = timeout(ALONE_LIMIT, self.engine.get_together(&items, None));
        let Ok(Ok(together)) = read.await else { return };
        if !self.counts() {
            return;
        }
        for (key, answer) in keys.iter().zip(&together.answers) {
            if answer.is_ok() {
                let question = check::Question { node: self.id, key: *key, asked };
                check::judge(&self.stage, question, &self.policies[*key], answer);
            }
        }
        check::is_of_one_moment(&self.stage, self.id, keys, &together);
    }
}

/// A node's own luck.
#[derive(Debug)]
struct Seeded(Mutex<Dice>);

impl Chance for Seeded {
    fn draw(&self) -> u64 {
        self.0.lock().next_u64()
    }
}

/// The origin: one statement, one snapshot.
struct Rows {
    stage: Arc<Stage>,
    node: usize,
    life: u64,
}

impl Rows {
    fn unavailable(text: &str) -> OriginError {
        OriginError { kind: OriginErrorKind::Unavailable, message: text.to_owned() }
    }

    async fn way(&self) -> Result<(), OriginError> {
        let way = self.stage.way(self.node, self.life, Peer::Database).await;
        way.map_err(|_| Self::unavailable("cut off"))
    }

    async fn thinks(&self) {
        let slow = self.stage.weather.lock().slow_loads_ms;
        sleep(self.stage.millis(0, slow.max(4))).await;
    }
}

#[async_trait]
impl Origin for Rows {
    fn name(&self) -> &'static str {
        "rows"
    }

    async fn load(&self, _: &Key, id: &str) -> Result<Loaded, OriginError> {
        let mut loaded = self.read(&[id]).await?;
        loaded.pop().ok_or_else(|| Self::unavailable("no such row"))
    }

    async fn load_many(&self, asks: &[Ask<'_>]) -> Result<LoadedMany, OriginError> {
        let loaded = self.read(&asks.iter().map(|ask| ask.id).collect::<Vec<_>>()).await?;
        Ok(LoadedMany { items: loaded.into_iter().map(Ok).collect(), one_snapshot: true })
    }
}

impl Rows {
    /// One snapshot.
    async fn read(&self, ids: &[&str]) -> Result<Vec<Loaded>, OriginError> {
        let keys = ids.iter().map(|id| id.parse::<usize>());
        let keys: Vec<usize> =
            keys.collect::<Result<_, _>>().map_err(|_| Self::unavailable("no such row"))?;
        for key in &keys {
            self.stage.loads.lock()[*key] += 1;
        }
        self.way().await?;
        let bad = self.stage.weather.lock().bad_loads;
        if self.stage.chance(bad) {
            if self.stage.chance(0.3) {
                sleep(Duration::from_secs(30)).await;
            }
            return Err(Self::unavailable("broken"));
        }
        self.thinks().await;
        let (life, seen, end) = {
            let db = self.stage.db.lock();
            if !db.up {
                return Err(Self::unavailable("down"));
            }
            let read = |key: &usize| setup::cells_of(*key).map(|cell| db.read(cell));
            (db.life, keys.iter().map(read).collect::<Vec<_>>(), Some(db.end))
        };
        self.thinks().await;
        self.way().await?;
        let gone = |db: &Database| db.life != life;
        if gone(&self.stage.db.lock()) {
            return Err(Self::unavailable("the server was shut down"));
        }
        let loaded = keys.into_iter().zip(seen).map(|(key, seen)| {
            let versions = seen.map(|version| version.commit as u64);
            let versions = seen[0].present.then_some(versions);
            self.stage.note(Some(self.node), What::Load(key, versions));
            let Some(versions) = versions else {
                return Loaded {
                    content: Content::Absent,
                    tags: Vec::new(),
                    ttl: None,
                    seen: end,
                    replayed: None,
                    behind: Duration::ZERO,
                };
            };
            let value = Value { body: check::encode(versions).into(), ..Value::default() };
            let tags = if setup::is_row_alone(key) {
                Vec::new()
            } else {
                vec![setup::tag(setup::tag_of(key))]
            };
            Loaded {
                content: Content::Present(value),
                tags,
                ttl: None,
                seen: end,
                replayed: None,
                behind: Duration::ZERO,
            }
        });
        Ok(loaded.collect())
    }
}
