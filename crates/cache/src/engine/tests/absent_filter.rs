//! Somebody walks over ids that do not exist.

use std::collections::BTreeSet;

use super::*;
use crate::engine::{Answers, FilterState};
use crate::origin::{LoadItem, LoadedMany, KeyPage, KeyScan, ScanEstimate};

/// A table of ids, which says how often it was asked for one.
struct Ids {
    rows: Mutex<BTreeSet<u32>>,
    log_end: Arc<AtomicU64>,
    loads: AtomicUsize,
    pages: AtomicUsize,
    page_takes: Mutex<Duration>,
    fails: std::sync::atomic::AtomicBool,
    unfit: Mutex<Option<String>>,
}

impl Ids {
    fn new(world: &World, ids: impl IntoIterator<Item = u32>) -> Arc<Self> {
        Arc::new(Self {
            rows: Mutex::new(ids.into_iter().collect()),
            log_end: Arc::clone(&world.log_end),
            loads: AtomicUsize::new(0),
            pages: AtomicUsize::new(0),
            page_takes: Mutex::new(MS),
            fails: false.into(),
            unfit: Mutex::new(None),
        })
    }

    fn loads(&self) -> usize {
        self.loads.load(Ordering::Relaxed)
    }

    /// A commit that inserts a row; nobody has heard of it yet.
    fn insert(&self, world: &World, id: u32) -> Batch {
        self.rows.lock().insert(id);
        world.commit_unseen(vec![Subject::Key(key(id))])
    }

    fn seen(&self) -> Option<Lsn> {
        Some(Lsn(self.log_end.load(Ordering::Relaxed)))
    }
}

#[async_trait]
impl Origin for Ids {
    async fn load(&self, _key: &Key, id: &str) -> Result<Loaded, OriginError> {
        self.loads.fetch_add(1, Ordering::Relaxed);
        let there = self.rows.lock().contains(&id.parse().expect("a number"));
        let seen = self.seen();
        tokio::time::sleep(MS).await;
        Ok(Loaded { seen, ..if there { present("there") } else { absent() } })
    }

    async fn load_many(&self, asks: &[LoadItem<'_>]) -> Result<LoadedMany, OriginError> {
        let mut items = Vec::new();
        for ask in asks {
            items.push(self.load(ask.key, ask.id).await);
        }
        Ok(LoadedMany { items, one_snapshot: true })
    }

    fn key_scan(&self) -> Option<&dyn KeyScan> {
        Some(self)
    }
}

#[async_trait]
impl KeyScan for Ids {
    async fn estimate(&self) -> Result<ScanEstimate, OriginError> {
        if self.fails.load(Ordering::Relaxed) {
            return Err(failing());
        }
        let unfit = self.unfit.lock().clone();
        Ok(ScanEstimate { keys: self.rows.lock().len() as u64 / 2, unsuitable: unfit })
    }

    async fn page(&self, after: Option<&str>, most: usize) -> Result<KeyPage, OriginError> {
        self.pages.fetch_add(1, Ordering::Relaxed);
        let from = after.map_or(0, |after| after.parse::<u32>().expect("a number") + 1);
        let ids = self.rows.lock().range(from..).take(most).map(u32::to_string).collect();
        let seen = self.seen();
        let takes = *self.page_takes.lock();
        tokio::time::sleep(takes).await;
        Ok(KeyPage { ids, seen })
    }
}

fn contract(filter: &str) -> contract::Contract {
    let text = format!(
        "key = \"v1:catalog:price:{{id}}\"\nvalue = \"select price from products where id = $id\"\n\
         from = {{ source = \"shop\", table = \"products\" }}\nstaleness = \"1s\"\n\
         unproven = \"fail\"\nabsent_filter = {filter}\n"
    );
    contract::Contract::from_toml("price", &text.parse().expect("TOML")).expect("a contract")
}

struct Keeping {
    world: World,
    node: Engine,
    policy: Arc<Policy>,
    ids: Arc<Ids>,
}

impl Keeping {
    /// A node that keeps a filter of rows 1 to 10, which has not begun.
    async fn begin(filter: &str, ids: impl IntoIterator<Item = u32>) -> Self {
        let world = World::new().await;
        let node = world.node().await;
        let ids = Ids::new(&world, ids);
        let policy = policy(rules(Unproven::ReadOrigin));
        let keeping = Self { world, node, policy, ids };
        keeping.keep(&keeping.node, &keeping.policy, filter);
        keeping
    }

    fn keep(&self, node: &Engine, policy: &Arc<Policy>, filter: &str) {
        let (node, policy, contract) = (node.clone(), Arc::clone(policy), contract(filter));
        let origin = Arc::clone(&self.ids) as Arc<dyn Origin>;
        tokio::spawn(async move { node.keep_filter(&contract, &policy, &origin).await });
    }

    async fn standing() -> Self {
        let keeping = Self::begin("true", 1..=10).await;
        keeping.until(FilterState::Ready).await;
        keeping
    }

    fn state(&self) -> Option<FilterState> {
        self.node.filters().first().map(|filter| filter.state)
    }

    async fn until(&self, state: FilterState) {
        let reached = async {
            while self.state() != Some(state) {
                tokio::time::sleep(MS).await;
            }
        };
        let patience = Duration::from_secs(600);
        assert!(tokio::time::timeout(patience, reached).await.is_ok(), "{:?}", self.state());
    }

    async fn ask(&self, id: u32) -> (String, Tier) {
        let origin = Arc::clone(&self.ids) as Arc<dyn Origin>;
        let answer = self.node.get(&key(id), &id.to_string(), &self.policy, &origin).await;
        let answer = answer.expect("an answer");
        (text(&answer), answer.proof().tier)
    }

    fn item(&self, id: u32) -> Item {
        let (policy, origin) = (Arc::clone(&self.policy), Arc::clone(&self.ids) as Arc<dyn Origin>);
        Item { key: key(id), id: id.to_string().into(), policy, origin }
    }
}

#[tokio::test(start_paused = true)]
async fn absent_ids_cost_no_load_and_no_entry() {
    let keeping = Keeping::standing().await;
    let calls = || keeping.world.shared.single_reads.load(Ordering::Relaxed);
    let before = calls();
    let mut loaded = 0;
    for id in 1_000..3_000 {
        let loads = keeping.ids.loads();
        let (said, _) = keeping.ask(id).await;
        assert_eq!(said, "absent");
        loaded += keeping.ids.loads() - loads;
    }
    // One in a hundred seems known while the filter is full; this one has room for a thousand.
    assert!(loaded < 20, "{loaded} loads");
    assert_eq!(calls() - before, loaded, "nothing else was asked of the shared tier");
    assert_eq!(keeping.node.standing().entries, loaded, "nothing else was stored");
    assert_eq!(keeping.ask(5).await, is("there", Tier::Origin));
    assert_eq!(keeping.ask(5).await, is("there", Tier::Local));
}

#[tokio::test(start_paused = true)]
async fn race_13_insert_visible_after_its_event() {
    let keeping = Keeping::standing().await;
    for id in 100..200 {
        assert_eq!(keeping.ask(id).await, is("absent", Tier::Local), "{id}");
        let unseen = keeping.ids.insert(&keeping.world, id);
        assert_eq!(keeping.ask(id).await.0, "absent", "nobody has heard of it");
        keeping.world.shared.apply(&unseen).await.unwrap().unwrap();
        settle().await;
        assert_eq!(keeping.ask(id).await, is("there", Tier::Origin), "{id}");
    }
}

#[tokio::test(start_paused = true)]
async fn race_13_insert_during_scan_known() {
    // Three pages, each of which takes a while.
    let keeping = Keeping::begin("true", (0..5_000).step_by(2)).await;
    *keeping.ids.page_takes.lock() = 50 * MS;
    let mut inserted = Vec::new();
    while keeping.state() != Some(FilterState::Ready) {
        // Some where the reading has been, some where it has yet to come.
        let at = inserted.len() as u32 * 10;
        for id in [(at + 1) % 5_000, (2 * 5_000 - 1 - at % 5_000) % 5_000] {
            let unseen = keeping.ids.insert(&keeping.world, id);
            keeping.world.shared.apply(&unseen).await.unwrap().unwrap();
            settle().await;
            inserted.push(id);
        }
        tokio::time::sleep(5 * MS).await;
    }
    assert!(inserted.len() > 10 && keeping.ids.pages.load(Ordering::Relaxed) >= 3);
    for id in inserted.into_iter().chain((0..5_000).step_by(2).take(100)) {
        assert_eq!(keeping.ask(id).await.0, "there", "{id}");
    }
    let loads = keeping.ids.loads();
    for id in 10_000..10_100 {
        assert_eq!(keeping.ask(id).await.0, "absent", "{id}");
    }
    assert!(keeping.ids.loads() < loads + 20);
}

#[tokio::test(start_paused = true)]
async fn unproven_filter_falls_back_to_load() {
    let keeping = Keeping::standing().await;
    keeping.world.cut_off_primary();
    tokio::time::sleep(BUDGET / 2).await;
    assert_eq!(keeping.ask(100).await, is("absent", Tier::Local));
    tokio::time::sleep(BUDGET).await;
    assert_eq!(keeping.ask(101).await, is("absent", Tier::Origin));
    assert_eq!(keeping.state(), Some(FilterState::Ready));
}

#[tokio::test(start_paused = true)]
async fn gap_or_truncate_repeats_scan() {
    for spoil in ["everything", "another history", "a gap"] {
        let keeping = Keeping::standing().await;
        let world = &keeping.world;
        match spoil {
            "everything" => world.commit(vec![Subject::Everything]).await,
            "another history" => {
                *world.epoch.lock() = OTHER;
                let at = Lsn(world.log_end.load(Ordering::Relaxed));
                world.shared.reset_epoch(OTHER, at, at).await.unwrap();
                settle().await;
            }
            _ => {
                // Nobody tells this node of one of them.
                let end = world.log_end.load(Ordering::Relaxed) + 1;
                world.log_end.store(end, Ordering::Relaxed);
                let batch = Batch { prev: Lsn(end), ..world.batch(Vec::new()) };
                keeping.node.tiers().local.apply(&batch, world.clock.mono(), true);
                world.shared.reset_epoch(EPOCH, Lsn(end), Lsn(end)).await.unwrap();
            }
        }
        let was = keeping.state();
        assert_ne!(was, Some(FilterState::Ready), "{spoil}");
        assert_eq!(keeping.ask(100).await, is("absent", Tier::Origin), "{spoil}");
        keeping.until(FilterState::Ready).await;
        assert_eq!(keeping.ask(101).await, is("absent", Tier::Local), "{spoil}");
        assert_eq!(keeping.ask(3).await.0, "there", "{spoil}");
    }
}

#[tokio::test(start_paused = true)]
async fn race_15_own_insert_read_at_once() {
    let keeping = Keeping::standing().await;
    let origin = Arc::clone(&keeping.ids) as Arc<dyn Origin>;
    let unseen = keeping.ids.insert(&keeping.world, 100);
    let token = Some(After::new(Some(unseen.epoch.log()), unseen.upto));
    let (node, policy) = (&keeping.node, &keeping.policy);
    let answer = node.get_after(&key(100), "100", policy, &origin, token).await.expect("one");
    assert_eq!(text(&answer), "there");
    let items = [keeping.item(100), keeping.item(101)];
    for answer in node.get_many(&items, token).await.into_iter().take(1) {
        assert_eq!(text(&answer.expect("one")), "there");
    }
    // Once the tier is there, it answers for the token too.
    keeping.world.shared.apply(&unseen).await.unwrap().unwrap();
    settle().await;
    let loads = keeping.ids.loads();
    let answer = node.get_after(&key(102), "102", policy, &origin, token).await.expect("one");
    assert_eq!((text(&answer), answer.proof().tier), is("absent", Tier::Local));
    // One that gets there in time is waited for.
    let later = keeping.ids.insert(&keeping.world, 103);
    let token = Some(After::new(Some(later.epoch.log()), later.upto));
    let commit = async {
        tokio::time::sleep(20 * MS).await;
        keeping.world.shared.apply(&later).await.unwrap().unwrap();
    };
    let key = key(104);
    let (answer, ()) = tokio::join!(node.get_after(&key, "104", policy, &origin, token), commit);
    assert_eq!(answer.expect("one").proof().tier, Tier::Local);
    assert_eq!(keeping.ids.loads(), loads);
}

#[tokio::test(start_paused = true)]
async fn race_16_atomic_batch_includes_absence() {
    let keeping = Keeping::standing().await;
    let (node, items) = (&keeping.node, [keeping.item(1), keeping.item(100)]);
    let texts = |together: AtomicBatch| {
        let texts = together.answers.iter().map(|answer| text(answer.as_ref().expect("one")));
        (texts.collect::<Vec<_>>(), together.by)
    };
    keeping.ask(1).await;
    let together = node.get_atomic(&items, None).await.expect("an answer");
    assert_eq!(texts(together), (vec!["there".into(), "absent".into()], Tier::Local));
    // Loaded after a commit that this tier has not heard of: 100 may have come with it.
    let unseen = keeping.ids.insert(&keeping.world, 100);
    keeping.ask(2).await;
    let items = [keeping.item(2), keeping.item(100)];
    let together = node.get_atomic(&items, None).await.expect("an answer");
    assert_eq!(texts(together), (vec!["there".into(), "there".into()], Tier::Origin));
    drop(unseen);
}

#[tokio::test(start_paused = true)]
async fn inspect_shows_filter_answer() {
    let keeping = Keeping::standing().await;
    let found = keeping.node.inspect(&key(100), &keeping.policy).await.expect("a look");
    let [holding] = &found[..] else { panic!("{found:?}") };
    assert_eq!((holding.tier, holding.answers), (Tier::Local, Answers::Fresh));
    assert_eq!(holding.entry.content, Content::Absent);
    assert!(holding.bound.is_some_and(|bound| bound <= BUDGET), "{holding:?}");
    assert!(keeping.node.inspect(&key(1), &keeping.policy).await.expect("a look").is_empty());
}

#[tokio::test(start_paused = true)]
async fn unsuitable_table_has_no_filter() {
    let keeping = Keeping::begin("{ max_size = 1000 }", 0..5_000).await;
    let keeping_unfit = Keeping::begin("true", 1..=10).await;
    *keeping_unfit.ids.unfit.lock() = Some("row security".into());
    tokio::time::sleep(Duration::from_secs(5)).await;
    for keeping in [keeping, keeping_unfit] {
        assert_eq!(keeping.state(), Some(FilterState::Void));
        assert_eq!(keeping.ask(10_000).await, is("absent", Tier::Origin));
        assert_eq!(keeping.ask(5).await.0, "there");
    }
}

#[tokio::test(start_paused = true)]
async fn grown_table_gets_larger_filter() {
    // The database takes it for half as large, so the first try is too small as well.
    let keeping = Keeping::begin("true", 0..3_000).await;
    keeping.until(FilterState::Ready).await;
    let bytes = keeping.node.filters()[0].bytes;
    for id in 3_000..9_000 {
        let unseen = keeping.ids.insert(&keeping.world, id);
        keeping.world.shared.apply(&unseen).await.unwrap().unwrap();
        settle().await;
    }
    let grown = async {
        while keeping.node.filters()[0].bytes < bytes * 2 || keeping.state().is_none() {
            tokio::time::sleep(100 * MS).await;
        }
    };
    let grown = tokio::time::timeout(Duration::from_secs(600), grown).await;
    assert!(grown.is_ok(), "{:?}", keeping.node.filters());
    keeping.until(FilterState::Ready).await;
    let wrong = async {
        let mut wrong = 0;
        for id in 20_000..21_000 {
            wrong += usize::from(keeping.ask(id).await.1 != Tier::Local);
        }
        wrong
    };
    assert!(wrong.await < 40);
}

#[tokio::test(start_paused = true)]
async fn failing_scan_retried() {
    let keeping = Keeping::begin("true", 1..=10).await;
    keeping.ids.fails.store(true, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(90)).await;
    assert_eq!(keeping.ask(100).await.0, "absent");
    keeping.ids.fails.store(false, Ordering::Relaxed);
    keeping.until(FilterState::Ready).await;
    assert_eq!(keeping.ask(101).await, is("absent", Tier::Local));
}
