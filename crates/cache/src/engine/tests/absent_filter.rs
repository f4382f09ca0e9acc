//! Reads of ids that do not exist.

use std::collections::BTreeSet;

use super::*;
use crate::local::FilterState;
use crate::origin::{KeyPage, KeyScan, LoadItem, LoadedMany, ScanEstimate};

/// A table of ids, which counts its loads.
struct Ids {
    rows: Mutex<BTreeSet<u32>>,
    log_end: Arc<AtomicU64>,
    loads: AtomicUsize,
    pages: AtomicUsize,
    page_takes: Mutex<Duration>,
    fails: std::sync::atomic::AtomicBool,
    unsuitable: Mutex<Option<String>>,
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
            unsuitable: Mutex::new(None),
        })
    }

    fn loads(&self) -> usize {
        self.loads.load(Ordering::Relaxed)
    }

    /// Commits an insert without applying it to any tier.
    fn insert(&self, world: &World, id: u32) -> Batch {
        self.rows.lock().insert(id);
        world.commit_unapplied(vec![Subject::Key(key(id))])
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
        let unsuitable = self.unsuitable.lock().clone();
        Ok(ScanEstimate { keys: self.rows.lock().len() as u64 / 2, unsuitable })
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

struct FilterNode {
    world: World,
    node: Engine,
    policy: Arc<Policy>,
    ids: Arc<Ids>,
}

impl FilterNode {
    /// Starts a node that keeps a filter of these rows.
    async fn begin(filter: &str, ids: impl IntoIterator<Item = u32>) -> Self {
        let world = World::new().await;
        let node = world.node().await;
        let ids = Ids::new(&world, ids);
        let policy = policy(rules(Unproven::ReadOrigin));
        let filtered = Self { world, node, policy, ids };
        filtered.keep(&filtered.node, &filtered.policy, filter);
        filtered
    }

    fn keep(&self, node: &Engine, policy: &Arc<Policy>, filter: &str) {
        let (node, policy, contract) = (node.clone(), Arc::clone(policy), contract(filter));
        let origin = Arc::clone(&self.ids) as Arc<dyn Origin>;
        tokio::spawn(async move { node.keep_filter(&contract, &policy, &origin).await });
    }

    async fn ready() -> Self {
        let filtered = Self::begin("true", 1..=10).await;
        filtered.until(FilterState::Ready).await;
        filtered
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
        let limit = Duration::from_secs(600);
        assert!(tokio::time::timeout(limit, reached).await.is_ok(), "{:?}", self.state());
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
    let filtered = FilterNode::ready().await;
    let calls = || filtered.world.shared.single_reads.load(Ordering::Relaxed);
    let before = calls();
    let mut loaded = 0;
    for id in 1_000..3_000 {
        let loads = filtered.ids.loads();
        let (said, _) = filtered.ask(id).await;
        assert_eq!(said, "absent");
        loaded += filtered.ids.loads() - loads;
    }
    // The false positive rate of a full filter is 1 %; this one has room for a thousand ids.
    assert!(loaded < 20, "{loaded} loads");
    assert_eq!(calls() - before, loaded, "no other calls to the shared tier");
    assert_eq!(filtered.node.status().entries, loaded, "no other entries");
    assert_eq!(filtered.ask(5).await, is("there", Tier::Origin));
    assert_eq!(filtered.ask(5).await, is("there", Tier::Local));
}

#[tokio::test(start_paused = true)]
async fn race_13_insert_visible_after_its_event() {
    let filtered = FilterNode::ready().await;
    for id in 100..200 {
        assert_eq!(filtered.ask(id).await, is("absent", Tier::Local), "{id}");
        let unapplied = filtered.ids.insert(&filtered.world, id);
        assert_eq!(filtered.ask(id).await.0, "absent", "the insert is not applied yet");
        filtered.world.shared.apply(&unapplied).await.unwrap().unwrap();
        settle().await;
        assert_eq!(filtered.ask(id).await, is("there", Tier::Origin), "{id}");
    }
}

#[tokio::test(start_paused = true)]
async fn race_13_insert_during_scan_known() {
    // Three pages, each of which takes time.
    let filtered = FilterNode::begin("true", (0..5_000).step_by(2)).await;
    *filtered.ids.page_takes.lock() = 50 * MS;
    let mut inserted = Vec::new();
    while filtered.state() != Some(FilterState::Ready) {
        // Some in pages that have been scanned, some in pages that have not.
        let at = inserted.len() as u32 * 10;
        for id in [(at + 1) % 5_000, (2 * 5_000 - 1 - at % 5_000) % 5_000] {
            let unapplied = filtered.ids.insert(&filtered.world, id);
            filtered.world.shared.apply(&unapplied).await.unwrap().unwrap();
            settle().await;
            inserted.push(id);
        }
        tokio::time::sleep(5 * MS).await;
    }
    assert!(inserted.len() > 10 && filtered.ids.pages.load(Ordering::Relaxed) >= 3);
    for id in inserted.into_iter().chain((0..5_000).step_by(2).take(100)) {
        assert_eq!(filtered.ask(id).await.0, "there", "{id}");
    }
    let loads = filtered.ids.loads();
    for id in 10_000..10_100 {
        assert_eq!(filtered.ask(id).await.0, "absent", "{id}");
    }
    assert!(filtered.ids.loads() < loads + 20);
}

#[tokio::test(start_paused = true)]
async fn unproven_filter_falls_back_to_load() {
    let filtered = FilterNode::ready().await;
    filtered.world.cut_off_primary();
    tokio::time::sleep(BUDGET / 2).await;
    assert_eq!(filtered.ask(100).await, is("absent", Tier::Local));
    tokio::time::sleep(BUDGET).await;
    assert_eq!(filtered.ask(101).await, is("absent", Tier::Origin));
    assert_eq!(filtered.state(), Some(FilterState::Ready));
}

#[tokio::test(start_paused = true)]
async fn gap_or_truncate_repeats_scan() {
    for spoil in ["everything", "another history", "a gap"] {
        let filtered = FilterNode::ready().await;
        let world = &filtered.world;
        match spoil {
            "everything" => world.commit(vec![Subject::Everything]).await,
            "another history" => {
                *world.epoch.lock() = OTHER;
                let at = Lsn(world.log_end.load(Ordering::Relaxed));
                world.shared.reset_epoch(OTHER, at, at).await.unwrap();
                settle().await;
            }
            _ => {
                // This node does not receive one of them.
                let end = world.log_end.load(Ordering::Relaxed) + 1;
                world.log_end.store(end, Ordering::Relaxed);
                let batch = Batch { prev: Lsn(end), ..world.batch(Vec::new()) };
                filtered.node.tiers().local.apply(&batch, world.clock.mono(), true);
                world.shared.reset_epoch(EPOCH, Lsn(end), Lsn(end)).await.unwrap();
            }
        }
        let was = filtered.state();
        assert_ne!(was, Some(FilterState::Ready), "{spoil}");
        assert_eq!(filtered.ask(100).await, is("absent", Tier::Origin), "{spoil}");
        filtered.until(FilterState::Ready).await;
        assert_eq!(filtered.ask(101).await, is("absent", Tier::Local), "{spoil}");
        assert_eq!(filtered.ask(3).await.0, "there", "{spoil}");
    }
}

#[tokio::test(start_paused = true)]
async fn race_15_own_insert_read_at_once() {
    let filtered = FilterNode::ready().await;
    let origin = Arc::clone(&filtered.ids) as Arc<dyn Origin>;
    let unapplied = filtered.ids.insert(&filtered.world, 100);
    let token = Some(CausalToken::new(Some(unapplied.epoch.log()), unapplied.upto));
    let (node, policy) = (&filtered.node, &filtered.policy);
    let answer = node.get_after(&key(100), "100", policy, &origin, token).await.expect("one");
    assert_eq!(text(&answer), "there");
    let items = [filtered.item(100), filtered.item(101)];
    for answer in node.get_many(&items, token).await.into_iter().take(1) {
        assert_eq!(text(&answer.expect("one")), "there");
    }
    // A tier that has reached the token answers a read with it.
    filtered.world.shared.apply(&unapplied).await.unwrap().unwrap();
    settle().await;
    let loads = filtered.ids.loads();
    let answer = node.get_after(&key(102), "102", policy, &origin, token).await.expect("one");
    assert_eq!((text(&answer), answer.proof().tier), is("absent", Tier::Local));
    // A read waits for a tier that reaches the token in time.
    let later = filtered.ids.insert(&filtered.world, 103);
    let token = Some(CausalToken::new(Some(later.epoch.log()), later.upto));
    let commit = async {
        tokio::time::sleep(20 * MS).await;
        filtered.world.shared.apply(&later).await.unwrap().unwrap();
    };
    let key = key(104);
    let (answer, ()) = tokio::join!(node.get_after(&key, "104", policy, &origin, token), commit);
    assert_eq!(answer.expect("one").proof().tier, Tier::Local);
    assert_eq!(filtered.ids.loads(), loads);
}

#[tokio::test(start_paused = true)]
async fn race_16_atomic_batch_includes_absence() {
    let filtered = FilterNode::ready().await;
    let (node, items) = (&filtered.node, [filtered.item(1), filtered.item(100)]);
    let texts = |together: AtomicBatch| {
        let texts = together.answers.iter().map(|answer| text(answer.as_ref().expect("one")));
        (texts.collect::<Vec<_>>(), together.by)
    };
    filtered.ask(1).await;
    let together = node.get_atomic(&items, None).await.expect("an answer");
    assert_eq!(texts(together), (vec!["there".into(), "absent".into()], Tier::Local));
    // Loaded after a commit that this tier has not applied, which may have inserted 100.
    let unapplied = filtered.ids.insert(&filtered.world, 100);
    filtered.ask(2).await;
    let items = [filtered.item(2), filtered.item(100)];
    let together = node.get_atomic(&items, None).await.expect("an answer");
    assert_eq!(texts(together), (vec!["there".into(), "there".into()], Tier::Origin));
    drop(unapplied);
}

#[tokio::test(start_paused = true)]
async fn inspect_shows_filter_answer() {
    let filtered = FilterNode::ready().await;
    let found = filtered.node.inspect(&key(100), &filtered.policy).await.expect("an inspection");
    let [found_entry] = &found[..] else { panic!("{found:?}") };
    assert_eq!((found_entry.tier, found_entry.served_as), (Tier::Local, ServedAs::Fresh));
    assert_eq!(found_entry.entry.content, Content::Absent);
    assert!(found_entry.bound.is_some_and(|bound| bound <= BUDGET), "{found_entry:?}");
    assert!(
        filtered.node.inspect(&key(1), &filtered.policy).await.expect("an inspection").is_empty()
    );
}

#[tokio::test(start_paused = true)]
async fn unsuitable_table_has_no_filter() {
    let filtered = FilterNode::begin("{ max_size = 1000 }", 0..5_000).await;
    let unsuitable = FilterNode::begin("true", 1..=10).await;
    *unsuitable.ids.unsuitable.lock() = Some("row security".into());
    tokio::time::sleep(Duration::from_secs(5)).await;
    for filtered in [filtered, unsuitable] {
        assert_eq!(filtered.state(), Some(FilterState::Void));
        assert_eq!(filtered.ask(10_000).await, is("absent", Tier::Origin));
        assert_eq!(filtered.ask(5).await.0, "there");
    }
}

#[tokio::test(start_paused = true)]
async fn grown_table_gets_larger_filter() {
    // The database estimates half the size, so the first try is too small as well.
    let filtered = FilterNode::begin("true", 0..3_000).await;
    filtered.until(FilterState::Ready).await;
    let bytes = filtered.node.filters()[0].bytes;
    for id in 3_000..9_000 {
        let unapplied = filtered.ids.insert(&filtered.world, id);
        filtered.world.shared.apply(&unapplied).await.unwrap().unwrap();
        settle().await;
    }
    let grown = async {
        while filtered.node.filters()[0].bytes < bytes * 2 || filtered.state().is_none() {
            tokio::time::sleep(100 * MS).await;
        }
    };
    let grown = tokio::time::timeout(Duration::from_secs(600), grown).await;
    assert!(grown.is_ok(), "{:?}", filtered.node.filters());
    filtered.until(FilterState::Ready).await;
    let wrong = async {
        let mut wrong = 0;
        for id in 20_000..21_000 {
            wrong += usize::from(filtered.ask(id).await.1 != Tier::Local);
        }
        wrong
    };
    assert!(wrong.await < 40);
}

#[tokio::test(start_paused = true)]
async fn failing_scan_retried() {
    let filtered = FilterNode::begin("true", 1..=10).await;
    filtered.ids.fails.store(true, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(90)).await;
    assert_eq!(filtered.ask(100).await.0, "absent");
    filtered.ids.fails.store(false, Ordering::Relaxed);
    filtered.until(FilterState::Ready).await;
    assert_eq!(filtered.ask(101).await, is("absent", Tier::Local));
}
