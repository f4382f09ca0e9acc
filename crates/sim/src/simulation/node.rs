//! A node: the product's engine with its followers, on virtual everything.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cache::origin::Roll;
use cache::{
    Answer, Ask, Chance, Content, Engine, Item, Loaded, LoadedMany, Metrics, Origin, OriginError,
    OriginErrorKind, Policy, ReadError, Value,
};
use coherence::{After, Clock, Lsn};
use contract::Key;
use parking_lot::Mutex;
use rand::{Rng, RngExt, SeedableRng};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::check;
use super::database::{Database, Version};
use super::film::{self, Mood, Shot, Who};
use super::follower::{Follower, sample};
use super::roll;
use super::server::Remote;
use super::setup::{self, ALONE_LIMIT, Dice, KEYS, READ_LIMIT};
use super::stage::{NodeClock, Peer, Stage};
use super::standby::Twin;
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
        let twin = stage.setup.standby_lag_ms.map(|_| Twin::new(stage, id, life));
        let mut tasks = vec![
            stage.spawn(async move { follows.follow(std::future::pending()).await }),
            stage.spawn(sample(Arc::clone(stage), id, life, engine.clone(), clock)),
            stage.spawn(follower.run()),
        ];
        tasks.extend(twin.clone().map(|twin| stage.spawn(twin.watch())));
        let standbys: Vec<Arc<dyn Origin>> =
            twin.into_iter().map(|twin| twin as Arc<dyn Origin>).collect();
        let rows = Rows { stage: Arc::clone(stage), node: id, life, standbys };
        let origin: Arc<dyn Origin> = Arc::new(rows);
        let policies: Vec<Arc<Policy>> = (0..=KEYS).map(setup::policy).collect();
        for key in roll::FILTERED.into_iter().filter(|_| stage.setup.filters) {
            let (policy, origin) = (Arc::clone(&policies[key]), Arc::clone(&origin));
            tasks.push(stage.spawn(roll::keep(engine.clone(), policy, origin)));
        }
        Arc::new(Self {
            stage: Arc::clone(stage),
            id,
            life,
            engine,
            policies,
            keys: (0..=KEYS).map(setup::key).collect(),
            origin,
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
        let (reader, node) = (Who::Reader, Who::Node(self.id));
        self.stage.film.shoot(|| {
            let (at, text) = (question.asked, "read".into());
            Shot::Said { from: reader, to: node, left: at, arrived: at, text, mood: Mood::Plain }
        });
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
        self.stage.film.shoot(|| {
            let (at, (text, mood)) = (self.stage.now(), film::answer(&result));
            Shot::Said { from: node, to: reader, left: at, arrived: at, text, mood }
        });
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
pub(super) struct Rows {
    pub(super) stage: Arc<Stage>,
    pub(super) node: usize,
    life: u64,
    standbys: Vec<Arc<dyn Origin>>,
}

pub(super) fn unavailable(text: &str) -> OriginError {
    OriginError { kind: OriginErrorKind::Unavailable, message: text.to_owned() }
}

/// Which rows these are.
pub(super) fn rows(ids: &[&str]) -> Result<Vec<usize>, OriginError> {
    let rows = ids.iter().map(|id| id.parse::<usize>());
    rows.collect::<Result<_, _>>().map_err(|_| unavailable("no such row"))
}

/// A row that was read from a snapshot which holds nothing beyond `seen`; and what was read.
pub(super) fn loaded(
    key: usize,
    read: [Version; 3],
    seen: Option<Lsn>,
) -> (Loaded, Option<[u64; 3]>) {
    let versions = read.map(|version| version.commit as u64);
    let versions = read[0].present.then_some(versions);
    let alone = versions.is_none() || setup::is_row_alone(key);
    let tags = if alone { Vec::new() } else { vec![setup::tag(setup::tag_of(key))] };
    let content = match versions {
        None => Content::Absent,
        Some(versions) => {
            Content::Present(Value { body: check::encode(versions).into(), ..Value::default() })
        }
    };
    (Loaded { content, tags, ttl: None, seen, replayed: None, behind: Duration::ZERO }, versions)
}

impl Rows {
    pub(super) async fn way(&self) -> Result<(), OriginError> {
        let way = self.stage.way(self.node, self.life, Peer::Database).await;
        way.map_err(|_| unavailable("cut off"))
    }

    pub(super) async fn thinks(&self) {
        let slow = self.stage.weather.lock().slow_loads_ms;
        sleep(self.stage.millis(0, slow.max(4))).await;
    }
}

#[async_trait]
impl Origin for Rows {
    fn name(&self) -> &'static str {
        "rows"
    }

    fn standbys(&self) -> &[Arc<dyn Origin>] {
        &self.standbys
    }

    fn roll(&self) -> Option<&dyn Roll> {
        Some(self)
    }

    async fn load(&self, _: &Key, id: &str) -> Result<Loaded, OriginError> {
        let mut loaded = self.read(&[id]).await?;
        loaded.pop().ok_or_else(|| unavailable("no such row"))
    }

    async fn load_many(&self, asks: &[Ask<'_>]) -> Result<LoadedMany, OriginError> {
        let loaded = self.read(&asks.iter().map(|ask| ask.id).collect::<Vec<_>>()).await?;
        Ok(LoadedMany { items: loaded.into_iter().map(Ok).collect(), one_snapshot: true })
    }
}

impl Rows {
    /// One snapshot.
    async fn read(&self, ids: &[&str]) -> Result<Vec<Loaded>, OriginError> {
        let keys = rows(ids)?;
        for key in &keys {
            self.stage.loads.lock()[*key] += 1;
        }
        let left = self.stage.now();
        self.way().await?;
        let bad = self.stage.weather.lock().bad_loads;
        if self.stage.chance(bad) {
            if self.stage.chance(0.3) {
                sleep(Duration::from_secs(30)).await;
            }
            return Err(unavailable("broken"));
        }
        self.thinks().await;
        let (life, seen, end) = {
            let db = self.stage.db.lock();
            if !db.up {
                return Err(unavailable("down"));
            }
            let read = |key: &usize| setup::cells_of(*key).map(|cell| db.read(cell));
            (db.life, keys.iter().map(read).collect::<Vec<_>>(), Some(db.end))
        };
        let turned = self.stage.now();
        self.thinks().await;
        self.way().await?;
        let gone = |db: &Database| db.life != life;
        if gone(&self.stage.db.lock()) {
            return Err(unavailable("the server was shut down"));
        }
        let all = keys.into_iter().zip(seen).map(|(key, seen)| {
            let (loaded, versions) = loaded(key, seen, end);
            self.stage.film.dialogue(
                [Who::Node(self.node), Who::Database],
                [left, turned, self.stage.now()],
                || "select".into(),
                || (film::version(versions), Mood::Plain),
            );
            self.stage.note(Some(self.node), What::Load(key, versions));
            loaded
        });
        Ok(all.collect())
    }
}
