//! A primary with a lagging standby.

use std::sync::atomic::AtomicBool;

use coherence::{Log, Replayed};

use super::*;
use crate::origin::{LoadItem, LoadedMany};

/// The rows of one database, as their commits left them; key n is row n.
#[derive(Default)]
struct Rows(Mutex<Vec<(Lsn, u32, &'static str)>>);

impl Rows {
    fn shown(&self, id: &str, upto: Lsn) -> Loaded {
        let rows = self.0.lock();
        let shown = rows.iter().rev().find(|(lsn, row, _)| *lsn <= upto && row.to_string() == id);
        shown.map_or_else(absent, |(_, _, text)| present(text))
    }
}

struct Standby {
    rows: Arc<Rows>,
    log: Mutex<Log>,
    /// The position it has replayed; it reports it before it reads.
    upto: AtomicU64,
    /// The position it reported at the last check; `None`: it may not be asked.
    known: Mutex<Option<u64>>,
    fails: AtomicBool,
    takes: Mutex<Duration>,
    calls: AtomicUsize,
}

impl Standby {
    fn replays(&self, upto: u64) {
        self.upto.store(upto, Ordering::Relaxed);
        *self.known.lock() = Some(upto);
    }

    /// The current position, which the last check may not have seen.
    fn now(&self) -> Replayed {
        Replayed { log: *self.log.lock(), upto: Lsn(self.upto.load(Ordering::Relaxed)) }
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    async fn answer(&self) -> Result<Replayed, OriginError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let replayed = self.now();
        let takes = *self.takes.lock();
        tokio::time::sleep(takes).await;
        if self.fails.load(Ordering::Relaxed) { Err(failing()) } else { Ok(replayed) }
    }
}

#[async_trait]
impl Origin for Standby {
    fn name(&self) -> &str {
        "standby"
    }

    fn replayed(&self) -> Option<Replayed> {
        self.known.lock().map(|upto| Replayed { upto: Lsn(upto), ..self.now() })
    }

    async fn load(&self, _: &Key, id: &str) -> Result<Loaded, OriginError> {
        let replayed = self.answer().await?;
        Ok(Loaded { replayed: Some(replayed), ..self.rows.shown(id, replayed.upto) })
    }

    async fn load_many(&self, asks: &[LoadItem<'_>]) -> Result<LoadedMany, OriginError> {
        let replayed = self.answer().await?;
        let shown = |ask: &LoadItem<'_>| {
            let loaded = self.rows.shown(ask.id, replayed.upto);
            Ok(Loaded { replayed: Some(replayed), ..loaded })
        };
        Ok(LoadedMany { items: asks.iter().map(shown).collect(), one_snapshot: true })
    }
}

struct Primary {
    rows: Arc<Rows>,
    standby: Arc<Standby>,
    standbys: Vec<Arc<dyn Origin>>,
    log_end: Arc<AtomicU64>,
    calls: AtomicUsize,
    loaded: AtomicUsize,
}

#[async_trait]
impl Origin for Primary {
    fn standbys(&self) -> &[Arc<dyn Origin>] {
        &self.standbys
    }

    async fn load(&self, _: &Key, id: &str) -> Result<Loaded, OriginError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.loaded.fetch_add(1, Ordering::Relaxed);
        Ok(self.rows.shown(id, Lsn(self.log_end.load(Ordering::Relaxed))))
    }

    async fn load_many(&self, asks: &[LoadItem<'_>]) -> Result<LoadedMany, OriginError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.loaded.fetch_add(asks.len(), Ordering::Relaxed);
        let end = Lsn(self.log_end.load(Ordering::Relaxed));
        let items = asks.iter().map(|ask| Ok(self.rows.shown(ask.id, end)));
        Ok(LoadedMany { items: items.collect(), one_snapshot: true })
    }
}

impl Primary {
    /// Creates a primary whose rows 1 to 3 are "old", with a standby that has replayed all of it.
    fn of(world: &World) -> Arc<Self> {
        let rows = Arc::new(Rows::default());
        rows.0.lock().extend([1, 2, 3].map(|row| (Lsn(1), row, "old")));
        let standby = Arc::new(Standby {
            rows: Arc::clone(&rows),
            log: Mutex::new(EPOCH.log().lineage()),
            upto: 10.into(),
            known: Mutex::new(Some(10)),
            fails: false.into(),
            takes: Mutex::new(MS),
            calls: AtomicUsize::new(0),
        });
        Arc::new(Self {
            standbys: vec![Arc::clone(&standby) as Arc<dyn Origin>],
            log_end: Arc::clone(&world.log_end),
            rows,
            standby,
            calls: AtomicUsize::new(0),
            loaded: AtomicUsize::new(0),
        })
    }

    /// Commits without applying the commit to any tier.
    fn commit(&self, world: &World, row: u32, text: &'static str) -> Batch {
        let batch = world.commit_unapplied(vec![Subject::Key(key(row))]);
        self.rows.0.lock().push((batch.upto, row, text));
        batch
    }

    fn calls(&self) -> (usize, usize) {
        (self.standby.calls(), self.calls.load(Ordering::Relaxed))
    }

    async fn read(self: &Arc<Self>, engine: &Engine, policy: &Arc<Policy>, row: u32) -> Answer {
        self.read_after(engine, policy, row, None).await
    }

    async fn read_after(
        self: &Arc<Self>,
        engine: &Engine,
        policy: &Arc<Policy>,
        row: u32,
        after: Option<CausalToken>,
    ) -> Answer {
        let origin = Arc::clone(self) as Arc<dyn Origin>;
        let id = row.to_string();
        engine.get_after(&key(row), &id, policy, &origin, after).await.expect("an answer")
    }

    fn items(self: &Arc<Self>, policy: &Arc<Policy>, rows: &[u32]) -> Vec<Item> {
        let item = |row: &u32| Item {
            key: key(*row),
            id: row.to_string().into(),
            policy: Arc::clone(policy),
            origin: Arc::clone(self) as Arc<dyn Origin>,
        };
        rows.iter().map(item).collect()
    }
}

async fn apply(world: &World, batch: &Batch) {
    world.shared.apply(batch).await.unwrap().unwrap();
    settle().await;
}

#[tokio::test(start_paused = true)]
async fn recent_standby_relieves_primary() {
    let world = World::new().await;
    let engine = world.node().await;
    let (primary, policy) = (Primary::of(&world), policy(rules(Unproven::ReadOrigin)));
    let answer = primary.read(&engine, &policy, 1).await;
    assert_eq!((text(&answer), primary.calls()), ("old".into(), (1, 0)));
    let proof = answer.proof();
    assert_eq!((proof.tier, proof.version), (Tier::Origin, Lsn(10)));
    assert_eq!(proof.stored, Some(Verdict::Accept));
    // The entry is stored, and its commit invalidates it.
    assert_eq!(primary.read(&engine, &policy, 1).await.proof().tier, Tier::Local);
    let batch = primary.commit(&world, 1, "new");
    primary.standby.replays(batch.upto.0);
    apply(&world, &batch).await;
    tokio::time::sleep(300 * MS).await;
    let answer = primary.read(&engine, &policy, 1).await;
    assert_eq!((text(&answer), primary.calls()), ("new".into(), (2, 0)));
}

#[tokio::test(start_paused = true)]
async fn race_05_lagging_standby_fill_rejected() {
    let world = World::new().await;
    let engine = world.node().await;
    let (primary, policy) = (Primary::of(&world), policy(rules(Unproven::ReadOrigin)));
    let batch = primary.commit(&world, 1, "new");
    apply(&world, &batch).await;
    let answer = primary.read(&engine, &policy, 1).await;
    assert_eq!(text(&answer), "new");
    assert_eq!(primary.calls(), (1, 1), "the standby was recent enough, its answer was not");
    // The standby still answers for rows that no commit has changed.
    assert_eq!(text(&primary.read(&engine, &policy, 2).await), "old");
    assert_eq!(primary.calls(), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn race_05_standby_lag_shown_in_bound() {
    let world = World::new().await;
    let engine = world.node().await;
    let (primary, policy) = (Primary::of(&world), policy(rules(Unproven::ReadOrigin)));
    tokio::time::sleep(100 * MS).await;
    let committed = world.clock.mono();
    let batch = primary.commit(&world, 1, "new");
    // The event is not applied yet; time passes, and the end of the log is sampled.
    tokio::time::sleep(600 * MS).await;
    let answer = primary.read(&engine, &policy, 1).await;
    assert_eq!((text(&answer), primary.calls()), ("old".into(), (1, 0)));
    let bound = answer.proof().bound.expect("something is proven");
    let stale = world.clock.mono().since(committed);
    assert!(bound >= stale, "{bound:?} is shown, it is {stale:?} old");
    assert!(bound <= policy.rules.budget, "{bound:?}");
    apply(&world, &batch).await;
    assert_eq!(text(&primary.read(&engine, &policy, 1).await), "new", "its event invalidated it");
    // Past the budget the primary answers, and the standby is not asked.
    tokio::time::sleep(2 * BUDGET).await;
    let (before, _) = primary.calls();
    let answer = primary.read(&engine, &policy, 2).await;
    assert_eq!((text(&answer), primary.calls().0), ("old".into(), before));
    assert!(answer.proof().bound.expect("proven") < 10 * MS, "{:?}", answer.proof());
}

#[tokio::test(start_paused = true)]
async fn stopped_standby_answer_rejected() {
    let world = World::new().await;
    let engine = world.node().await;
    let (primary, policy) = (Primary::of(&world), policy(rules(Unproven::ReadOrigin)));
    let batch = primary.commit(&world, 1, "new");
    apply(&world, &batch).await;
    tokio::time::sleep(2 * BUDGET).await;
    *primary.standby.known.lock() = Some(batch.upto.0);
    let answer = primary.read(&engine, &policy, 3).await;
    assert_eq!(primary.calls(), (1, 1), "{answer:?}");
    assert!(answer.proof().bound.expect("proven") < 10 * MS, "{:?}", answer.proof());
}

#[tokio::test(start_paused = true)]
async fn token_read_needs_standby_with_write() {
    let world = World::new().await;
    let engine = world.node().await;
    let (primary, policy) = (Primary::of(&world), policy(rules(Unproven::ReadOrigin)));
    let batch = primary.commit(&world, 1, "new");
    let token = Some(CausalToken::new(Some(EPOCH.log()), batch.upto));
    let answer = primary.read_after(&engine, &policy, 1, token).await;
    assert_eq!((text(&answer), primary.calls()), ("new".into(), (1, 1)));
    primary.standby.replays(batch.upto.0);
    let answer = primary.read_after(&engine, &policy, 2, token).await;
    assert_eq!((text(&answer), primary.calls()), ("old".into(), (2, 1)));
}

#[tokio::test(start_paused = true)]
async fn writer_skips_lagging_standby_load() {
    let world = World::new().await;
    let engine = world.node().await;
    let (primary, policy) = (Primary::of(&world), policy(rules(Unproven::ReadOrigin)));
    *primary.standby.takes.lock() = 50 * MS;
    let batch = primary.commit(&world, 1, "new");
    let token = Some(CausalToken::new(Some(EPOCH.log()), batch.upto));
    let reader = primary.read(&engine, &policy, 1);
    let writer = primary.read_after(&engine, &policy, 1, token);
    let (read, written) = tokio::join!(reader, writer);
    assert_eq!((text(&read), text(&written)), ("old".into(), "new".into()));
}

#[tokio::test(start_paused = true)]
async fn failing_standby_opens_breaker() {
    let world = World::new().await;
    let engine = world.node().await;
    let mut policy = rules(Unproven::ReadOrigin);
    policy.ttl = MS;
    let (primary, policy) = (Primary::of(&world), self::policy(policy));
    primary.standby.fails.store(true, Ordering::Relaxed);
    for read in 0..20 {
        assert_eq!(text(&primary.read(&engine, &policy, 1).await), "old", "{read}");
        tokio::time::sleep(2 * MS).await;
    }
    assert_eq!(primary.calls(), (8, 20), "its circuit breaker is open");
    primary.standby.fails.store(false, Ordering::Relaxed);
    tokio::time::sleep(2 * BUDGET).await;
    primary.read(&engine, &policy, 1).await;
    assert_eq!(primary.calls(), (9, 20), "the probe closes the breaker");
}

#[tokio::test(start_paused = true)]
async fn hanging_standby_limited_to_share() {
    let world = World::new().await;
    let engine = world.node().await;
    let (primary, policy) = (Primary::of(&world), policy(rules(Unproven::ReadOrigin)));
    *primary.standby.takes.lock() = Duration::from_secs(3_600);
    let asked = world.clock.mono();
    assert_eq!(text(&primary.read(&engine, &policy, 1).await), "old");
    let took = world.clock.mono().since(asked);
    assert!(took <= EngineOptions::default().load_timeout / 2, "{took:?}");
    assert_eq!(primary.calls(), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn unprovable_read_skips_standby() {
    let world = World::new().await;
    let engine = world.node().await;
    let primary = Primary::of(&world);
    let at_once = policy(Rules { budget: Duration::ZERO, ..rules(Unproven::ReadOrigin) });
    primary.read(&engine, &at_once, 1).await;
    let uncached = policy(Rules { tiers: contract::Tiers::NONE, ..rules(Unproven::ReadOrigin) });
    primary.read(&engine, &uncached, 1).await;
    let policy = policy(rules(Unproven::ReadOrigin));
    *primary.standby.log.lock() = Log { timeline: 2, ..EPOCH.log() };
    primary.read(&engine, &policy, 3).await;
    *primary.standby.known.lock() = None;
    primary.read(&engine, &policy, 2).await;
    assert_eq!(primary.calls(), (0, 4));
}

#[tokio::test(start_paused = true)]
async fn promoted_standby_answer_rejected() {
    /// Reports another log in its answers than in its checks.
    struct Promoted(Arc<Standby>);

    #[async_trait]
    impl Origin for Promoted {
        fn replayed(&self) -> Option<Replayed> {
            self.0.replayed()
        }

        async fn load(&self, key: &Key, id: &str) -> Result<Loaded, OriginError> {
            let loaded = self.0.load(key, id).await?;
            let other = |was: Replayed| Replayed { log: Log { timeline: 2, ..was.log }, ..was };
            Ok(Loaded { replayed: loaded.replayed.map(other), ..loaded })
        }
    }

    let world = World::new().await;
    let engine = world.node().await;
    let (primary, policy) = (Primary::of(&world), policy(rules(Unproven::ReadOrigin)));
    let promoted = Arc::new(Promoted(Arc::clone(&primary.standby)));
    let primary = Arc::new(Primary {
        standbys: vec![promoted],
        rows: Arc::clone(&primary.rows),
        standby: Arc::clone(&primary.standby),
        log_end: Arc::clone(&world.log_end),
        calls: AtomicUsize::new(0),
        loaded: AtomicUsize::new(0),
    });
    primary.read(&engine, &policy, 1).await;
    assert_eq!(primary.calls(), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn primary_loads_what_standby_lacks() {
    let world = World::new().await;
    let engine = world.node().await;
    let (primary, policy) = (Primary::of(&world), policy(rules(Unproven::ReadOrigin)));
    let batch = primary.commit(&world, 2, "new");
    apply(&world, &batch).await;
    let answers = engine.get_many(&primary.items(&policy, &[1, 2, 3]), None).await;
    assert_eq!(table::texts(&answers), ["old", "new", "old"]);
    assert_eq!(primary.calls(), (1, 1));
    assert_eq!(primary.loaded.load(Ordering::Relaxed), 1, "only what the standby lacks");
}

#[tokio::test(start_paused = true)]
async fn atomic_batch_from_one_server() {
    let world = World::new().await;
    let engine = world.node().await;
    let (primary, policy) = (Primary::of(&world), policy(rules(Unproven::ReadOrigin)));
    let together = engine.get_atomic(&primary.items(&policy, &[1, 3]), None).await.expect("both");
    assert_eq!(table::texts(&together.answers), ["old", "old"]);
    assert_eq!(primary.calls(), (1, 0), "one snapshot of the standby");

    let batch = primary.commit(&world, 2, "new");
    apply(&world, &batch).await;
    let items = primary.items(&policy, &[1, 2]);
    let together = engine.get_atomic(&items, None).await.expect("both");
    assert_eq!(table::texts(&together.answers), ["old", "new"]);
    assert_eq!(primary.calls(), (2, 1), "if the standby lacks one, the primary loads both");
    assert_eq!(primary.loaded.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn standbys_rotate() {
    let world = World::new().await;
    let engine = world.node().await;
    let policy = policy(rules(Unproven::ReadOrigin));
    let (one, two) = (Primary::of(&world), Primary::of(&world));
    struct OtherStandby(Arc<Standby>);

    #[async_trait]
    impl Origin for OtherStandby {
        fn name(&self) -> &str {
            "another standby"
        }

        fn replayed(&self) -> Option<Replayed> {
            self.0.replayed()
        }

        async fn load(&self, key: &Key, id: &str) -> Result<Loaded, OriginError> {
            self.0.load(key, id).await
        }
    }

    let other = Arc::clone(&two.standby);
    let primary = Arc::new(Primary {
        standbys: vec![
            Arc::clone(&one.standby) as _,
            Arc::new(OtherStandby(two.standby.clone())) as _,
        ],
        rows: Arc::clone(&one.rows),
        standby: Arc::clone(&one.standby),
        log_end: Arc::clone(&world.log_end),
        calls: AtomicUsize::new(0),
        loaded: AtomicUsize::new(0),
    });
    for row in 10..20 {
        primary.read(&engine, &policy, row).await;
    }
    assert_eq!((primary.calls(), other.calls()), ((5, 0), 5));
    // A standby that lags too far is not asked.
    *other.known.lock() = Some(3);
    for row in 20..30 {
        primary.read(&engine, &policy, row).await;
    }
    assert_eq!((primary.calls(), other.calls()), ((15, 0), 5));
}
