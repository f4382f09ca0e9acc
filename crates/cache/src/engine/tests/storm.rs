//! An invalidation storm: each change of stock invalidates hundreds of recommendations, faster than they
//! can be loaded again.

use std::collections::BTreeMap;

use tokio::sync::Semaphore;

use super::*;

/// Recommendations, all of them derived from stock.
const ENTRIES: u32 = 600;
/// The origin's concurrency and latency: 200 loads a second.
const SLOTS: usize = 4;
const EACH: Duration = Duration::from_millis(20);
const LIMIT: f64 = 200.0;
const READS_PER_SECOND: u32 = 1_000;
const BUDGET: Duration = Duration::from_secs(10);
const SPAN: Duration = Duration::from_secs(12);

/// A database with limited concurrency: further loads queue in it.
struct Paced {
    slots: Semaphore,
    calls: AtomicUsize,
    version: AtomicU64,
}

#[async_trait]
impl Origin for Paced {
    fn name(&self) -> &str {
        "paced"
    }

    fn concurrency(&self) -> Option<usize> {
        Some(SLOTS)
    }

    async fn load(&self, _key: &Key, _id: &str) -> Result<Loaded, OriginError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let _slot = self.slots.acquire().await.expect("it stays open");
        let version = self.version.load(Ordering::Relaxed);
        tokio::time::sleep(EACH).await;
        let body = Bytes::from(version.to_string());
        let content = Content::Present(Value { head: Bytes::new(), body });
        Ok(Loaded {
            content,
            tags: vec![tag("stock")],
            ttl: None,
            seen: None,
            replayed: None,
            log: None,
            behind: Duration::ZERO,
            change: None,
        })
    }
}

/// The outcome of a storm.
#[derive(Debug, Default)]
struct Outcome {
    reads: u32,
    errors: u32,
    soft: u32,
    /// Loads per second: made, and requested.
    made: f64,
    asked: f64,
    /// The staleness of the oldest answer: the time since the first commit that it lacks.
    oldest: Duration,
    worst_bound: Duration,
    /// Answers older than their bound.
    bound_violations: u32,
    p99: Duration,
}

/// The latencies of all reads, and their outcome.
#[derive(Default)]
struct Recording {
    outcome: Outcome,
    waits: Vec<Duration>,
    /// When each version was replaced.
    replaced: BTreeMap<u64, tokio::time::Instant>,
}

async fn storm(governor: bool, nodes: usize, writes_per_second: u32) -> Outcome {
    let world = World::new().await;
    let policy = || {
        Arc::new(Policy::new(Rules {
            ttl: Duration::from_secs(600),
            refresh: contract::Refresh { beta: 0.0, jitter: 0.0 },
            ..Rules::new("recommendations", BUDGET)
        }))
    };
    let mut engines = Vec::new();
    for _ in 0..nodes {
        engines.push((world.node_governed(governor).await, policy()));
    }
    let origin = Arc::new(Paced {
        slots: Semaphore::new(SLOTS),
        calls: AtomicUsize::new(0),
        version: AtomicU64::new(0),
    });
    // First everything is cached on every node.
    for id in 0..ENTRIES {
        for (engine, policy) in &engines {
            let origin = Arc::clone(&origin) as Arc<dyn Origin>;
            engine.get(&key(id), "", policy, &origin).await.expect("a quiet origin answers");
        }
    }
    let before = origin.calls.swap(0, Ordering::Relaxed);
    assert_eq!(before, ENTRIES as usize, "one load serves all nodes");
    let notes = Arc::new(Mutex::new(Recording::default()));
    let mut readers = Vec::new();
    let tick = Duration::from_secs(1) / READS_PER_SECOND;
    let write_every = READS_PER_SECOND / writes_per_second;
    let ticks = u32::try_from(SPAN.as_millis() / tick.as_millis()).unwrap();
    for at in 0..ticks {
        if at % write_every == 0 {
            let now = tokio::time::Instant::now();
            let version = origin.version.fetch_add(1, Ordering::Relaxed);
            notes.lock().replaced.insert(version, now);
            world.commit(vec![Subject::Tag(tag("stock"))]).await;
        }
        // Skewed popularity: a quarter of the reads for a tenth of the entries.
        let id = if at % 4 == 0 { at / 4 % (ENTRIES / 10) } else { at * 7 % ENTRIES };
        let (engine, policy) = engines[at as usize % nodes].clone();
        let (origin, notes) = (Arc::clone(&origin) as Arc<dyn Origin>, Arc::clone(&notes));
        readers.push(tokio::spawn(async move {
            let asked = tokio::time::Instant::now();
            let peeked = engine.peek(&key(id), &policy);
            let answer = match peeked {
                Some(answer) => Ok(answer),
                None => engine.get(&key(id), "", &policy, &origin).await,
            };
            notes.lock().take(asked, answer);
        }));
        tokio::time::sleep(tick).await;
    }
    for reader in readers {
        reader.await.unwrap();
    }
    let mut notes = notes.lock();
    notes.waits.sort_unstable();
    let p99 = notes.waits[notes.waits.len() * 99 / 100];
    let outcome = std::mem::take(&mut notes.outcome);
    let per_second = |loads: f64| loads / SPAN.as_secs_f64();
    let made = origin.calls.load(Ordering::Relaxed) as f64;
    let asked = per_second(made + f64::from(outcome.errors));
    Outcome { made: per_second(made), asked, p99, ..outcome }
}

impl Recording {
    fn take(&mut self, asked: tokio::time::Instant, answer: Result<Answer, ReadError>) {
        let outcome = &mut self.outcome;
        outcome.reads += 1;
        self.waits.push(asked.elapsed());
        let Ok(answer) = answer else {
            outcome.errors += 1;
            return;
        };
        let version: u64 = text(&answer).parse().unwrap();
        // The staleness of an answer counts from the first commit before the read that it lacks.
        let old = self.replaced.get(&version).map(|gone| asked.saturating_duration_since(*gone));
        let old = old.unwrap_or_default();
        let bound = answer.proof().bound.expect("nothing here is unproven");
        outcome.soft += u32::from(answer.proof().soft);
        outcome.bound_violations += u32::from(bound < old);
        outcome.oldest = outcome.oldest.max(old);
        outcome.worst_bound = outcome.worst_bound.max(bound);
    }
}

async fn show(what: &str, governor: bool, nodes: usize, writes: u32) -> Outcome {
    let outcome = storm(governor, nodes, writes).await;
    println!("{what}: {outcome:#?}");
    outcome
}

#[tokio::test(start_paused = true)]
async fn governor_protects_origin_in_storm() {
    let without = show("ten times the writes, without", false, 1, 20).await;
    assert!(without.asked > 2.0 * LIMIT, "{} loads a second requested", without.asked);
    assert!(without.errors > without.reads / 10, "{} errors", without.errors);

    let with = show("ten times the writes, with the governor", true, 1, 20).await;
    assert_eq!(with.errors, 0);
    assert!(with.made < LIMIT, "{} loads a second", with.made);
    assert!(with.oldest <= BUDGET, "no answer is older than its contract: {:?}", with.oldest);
    assert!(with.worst_bound <= BUDGET, "no bound is beyond the contract: {:?}", with.worst_bound);
    assert_eq!(with.bound_violations, 0, "no answer is older than its bound");
    assert!(with.soft > with.reads / 2);
    assert!(with.p99 < without.p99 / 4, "{:?} against {:?}", with.p99, without.p99);
}

#[tokio::test(start_paused = true)]
async fn storm_loads_once_per_window_and_node() {
    let with = show("two nodes, with the governor", true, 2, 20).await;
    assert_eq!((with.errors, with.bound_violations), (0, 0));
    assert!(with.made < LIMIT, "{} loads a second", with.made);
    assert!(with.oldest <= BUDGET && with.worst_bound <= BUDGET);
}

/// A node with one entry, under a contract with a budget of a second, without load.
async fn idle_node(governor: bool) -> (World, Engine, Arc<Policy>, Arc<Row>) {
    let world = World::new().await;
    let node = world.node_governed(governor).await;
    let (policy, row) = (policy(rules(Unproven::ReadOrigin)), Row::returning(MS, "old"));
    assert_eq!(served(&node, &policy, &row).await, is("old", Tier::Origin));
    (world, node, policy, row)
}

#[tokio::test(start_paused = true)]
async fn idle_origin_reloads_at_once() {
    let (world, node, policy, row) = idle_node(true).await;
    row.update("new");
    world.commit(vec![Subject::Key(key(1))]).await;
    assert!(node.peek(&key(1), &policy).is_none());
    assert_eq!(served(&node, &policy, &row).await, is("new", Tier::Origin));
}

#[tokio::test(start_paused = true)]
async fn soft_stale_covers_failure_in_budget() {
    for governor in [true, false] {
        let (world, node, policy, row) = idle_node(governor).await;
        row.set(|_| Err(failing()));
        world.commit(vec![Subject::Key(key(1))]).await;
        let answer = read(&node, &policy, &row).await;
        if !governor {
            answer.expect_err("a commit has removed it");
            continue;
        }
        let answer = answer.expect("within its budget");
        assert!(answer.proof().soft && answer.proof().stale.is_none());
        assert!(answer.proof().bound.is_some_and(|bound| bound <= BUDGET), "{answer:?}");
        tokio::time::sleep(BUDGET).await;
        read(&node, &policy, &row).await.expect_err("the budget is spent");
    }
}

#[tokio::test(start_paused = true)]
async fn purged_entry_covers_no_failure() {
    let (world, node, policy, row) = idle_node(true).await;
    row.set(|_| Err(failing()));
    let mut purge = world.commit_unapplied(vec![Subject::Key(key(1))]);
    purge.events[0].cause = Cause::Purge;
    world.shared.apply(&purge).await.unwrap().unwrap();
    settle().await;
    read(&node, &policy, &row).await.expect_err("the purge has removed it");
}

#[tokio::test(start_paused = true)]
async fn token_skips_soft_stale() {
    let (world, node, policy, row) = idle_node(true).await;
    row.set(|_| Err(failing()));
    world.commit(vec![Subject::Key(key(1))]).await;
    let origin = Arc::clone(&row) as Arc<dyn Origin>;
    let after = |at| Some(CausalToken::new(Some(EPOCH.log()), Lsn(at)));
    let answer = node.get_after(&key(1), "1", &policy, &origin, after(10)).await;
    assert!(answer.expect("the token is older than the commit").proof().soft);
    node.get_after(&key(1), "1", &policy, &origin, after(11))
        .await
        .expect_err("it lacks the write");
}

#[tokio::test(start_paused = true)]
async fn zero_budget_never_soft_stale() {
    let world = World::new().await;
    let node = world.node().await;
    let mut none = rules(Unproven::ServeStale);
    none.budget = Duration::ZERO;
    let (none, row) = (policy(none), Row::returning(MS, "old"));
    read(&node, &none, &row).await.expect("an answer");
    world.commit(vec![Subject::Key(key(1))]).await;
    row.set(|_| Err(failing()));
    read(&node, &none, &row).await.expect_err("a commit has removed it");
    assert_eq!(node.status().soft_stale, 0);
}
