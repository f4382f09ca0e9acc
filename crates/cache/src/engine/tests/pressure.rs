//! An overloaded origin, and a failing shared tier.

use contract::Class;

use super::*;
use crate::engine::admission::{GateOptions, Shares};
use crate::origin::Party;

async fn ask(
    node: &Engine,
    id: u32,
    policy: &Arc<Policy>,
    row: &Arc<Row>,
) -> Result<Answer, ReadError> {
    let origin = Arc::clone(row) as Arc<dyn Origin>;
    node.get(&key(id), &id.to_string(), policy, &origin).await
}

fn of_class(class: Class) -> Arc<Policy> {
    policy(Rules { priority: class, ..rules(Unproven::ReadOrigin) })
}

#[tokio::test(start_paused = true)]
async fn lowest_class_shed_first() {
    let world = World::new().await;
    let options = EngineOptions {
        origin_concurrency: 10,
        queue_timeout: 100 * MS,
        ..EngineOptions::default()
    };
    let node = world.node_with(options, Arc::clone(&world.shared) as _).await;
    let row = Row::returning(500 * MS, "value");
    let mut readers = Vec::new();
    for (first, class) in [(0, Class::Ephemeral), (100, Class::Standard), (200, Class::Critical)] {
        for id in first..first + 10 {
            let (node, policy, row) = (node.clone(), of_class(class), Arc::clone(&row));
            readers.push((class, tokio::spawn(async move { ask(&node, id, &policy, &row).await })));
        }
    }
    let mut answered = std::collections::BTreeMap::new();
    for (class, reader) in readers {
        let outcome = reader.await.unwrap();
        let shed = matches!(outcome, Err(ReadError::Overloaded { .. }));
        assert!(outcome.is_ok() || shed);
        *answered.entry(class).or_insert(0) += usize::from(outcome.is_ok());
    }
    assert_eq!(row.calls(), 10, "never more than the limit");
    assert_eq!(answered[&Class::Ephemeral], 7);
    assert_eq!(answered[&Class::Standard], 2);
    assert_eq!(answered[&Class::Critical], 1, "the reserve for critical loads");
}

#[tokio::test(start_paused = true)]
async fn failing_origin_opens_breaker() {
    let world = World::new().await;
    let node = world.node().await;
    let policy = of_class(Class::Standard);
    let row = Row::new(MS, |_| Err(failing()));
    for id in 0..50 {
        ask(&node, id, &policy, &row).await.expect_err("the origin fails");
    }
    assert!(row.calls() < 15, "{} calls to a failing origin", row.calls());
    let err = ask(&node, 60, &policy, &row).await.expect_err("the breaker is open");
    assert!(matches!(err, ReadError::Overloaded { reason: "breaker", .. }), "{err}");
    row.update("back");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(text(&ask(&node, 60, &policy, &row).await.expect("one probe")), "back");
    assert_eq!(text(&ask(&node, 61, &policy, &row).await.expect("closed again")), "back");
}

#[tokio::test(start_paused = true)]
async fn broken_connection_retried_once() {
    let world = World::new().await;
    let node = world.node().await;
    let row = Row::new(MS, |call| if call == 0 { Err(failing()) } else { Ok(present("value")) });
    let answer = ask(&node, 1, &of_class(Class::Standard), &row).await.expect("the second try");
    assert_eq!(text(&answer), "value");
    assert_eq!(row.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn hanging_load_times_out() {
    let world = World::new().await;
    let options = EngineOptions {
        load_timeout: 300 * MS,
        wait_timeout: Duration::from_secs(5),
        ..EngineOptions::default()
    };
    let node = world.node_with(options, Arc::clone(&world.shared) as _).await;
    let row = Row::returning(Duration::from_secs(3_600), "never");
    let err = ask(&node, 1, &of_class(Class::Standard), &row).await.expect_err("no answer");
    let timed_out = matches!(&err, ReadError::Origin(err) if err.kind == OriginErrorKind::Timeout);
    assert!(timed_out, "{err}");
}

#[tokio::test(start_paused = true)]
async fn local_tier_works_without_shared() {
    let world = World::new().await;
    let node = world.node().await;
    let policy = of_class(Class::Standard);
    let row = Row::returning(MS, "old");
    world.shared.down.store(true, Ordering::Relaxed);
    assert_eq!(served(&node, &policy, &row).await, is("old", Tier::Origin));
    assert_eq!(served(&node, &policy, &row).await, is("old", Tier::Local));
    // A commit that can't be applied anywhere: the bound grows.
    row.update("new");
    let batch = world.commit_unapplied(vec![Subject::Key(key(1))]);
    tokio::time::sleep(BUDGET + 250 * MS).await;
    assert_eq!(served(&node, &policy, &row).await, is("new", Tier::Origin));
    // The tier comes back.
    world.shared.down.store(false, Ordering::Relaxed);
    world.shared.apply(&batch).await.unwrap().unwrap();
    settle().await;
    assert_eq!(served(&node, &policy, &row).await.0, "new");
    assert!(node.status().bound.is_some_and(|bound| bound <= 250 * MS));
}

#[tokio::test(start_paused = true)]
async fn slow_shared_tier_opens_breaker() {
    let world = World::new().await;
    let node = world.node().await;
    let policy = of_class(Class::Standard);
    let row = Row::returning(MS, "value");
    *world.shared.late_reads.lock() = Duration::from_millis(500);
    let began = tokio::time::Instant::now();
    ask(&node, 0, &policy, &row).await.expect("an answer");
    assert!(began.elapsed() <= 60 * MS, "{:?}", began.elapsed());
    for id in 1..20 {
        ask(&node, id, &policy, &row).await.expect("an answer");
    }
    let began = tokio::time::Instant::now();
    ask(&node, 30, &policy, &row).await.expect("an answer");
    assert!(began.elapsed() <= 5 * MS, "the open breaker avoids the wait: {:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn other_requests_share_the_gate_of_loads() {
    let world = World::new().await;
    let options = EngineOptions { queue_timeout: 100 * MS, ..EngineOptions::default() };
    let node = world.node_with(options, Arc::clone(&world.shared) as _).await;
    let row = Row::returning(MS, "value");
    let gate = node.origin_gate(row.name(), node.gate_options(Some(10)));
    let mut permits = Vec::new();
    for _ in 0..10 {
        permits.push(gate.admit(Class::Critical).await.expect("below the limit"));
    }
    let err = ask(&node, 1, &of_class(Class::Critical), &row).await.expect_err("at the limit");
    assert!(matches!(err, ReadError::Overloaded { reason: "limit", .. }), "{err}");
    permits.pop();
    ask(&node, 2, &of_class(Class::Ephemeral), &row).await.expect_err("no room for this class");
    ask(&node, 2, &of_class(Class::Critical), &row).await.expect("room for one load");
    assert_eq!(row.calls(), 1);
}

/// A row that is loaded for a party.
struct PartyRow(Arc<Row>, u64);

#[async_trait]
impl Origin for PartyRow {
    fn party(&self) -> Option<Party> {
        Some(Party(self.1))
    }

    async fn load(&self, key: &Key, id: &str) -> Result<Loaded, OriginError> {
        self.0.load(key, id).await
    }
}

/// A node whose origin gives each party half of ten places, and a reader of a key for a party.
async fn node_with_parties(row: &Arc<Row>) -> (World, impl Fn(u32, u64) -> Reading) {
    let world = World::new().await;
    let node = world.node_with(EngineOptions::default(), Arc::clone(&world.shared) as _).await;
    let shares = Shares { loads: 1.0, party: 0.5 };
    let options = GateOptions { shares, ..node.gate_options(Some(10)) };
    let _ = node.origin_gate(row.name(), options);
    let row = Arc::clone(row);
    let read = move |id: u32, party: u64| {
        let (node, row) = (node.clone(), Arc::clone(&row));
        tokio::spawn(async move {
            let origin: Arc<dyn Origin> = Arc::new(PartyRow(row, party));
            let policy = of_class(Class::Critical);
            node.get(&key(id), &id.to_string(), &policy, &origin).await
        })
    };
    (world, read)
}

type Reading = tokio::task::JoinHandle<Result<Answer, ReadError>>;

#[tokio::test(start_paused = true)]
async fn party_at_its_limit_delays_no_other() {
    let row = Row::returning(500 * MS, "value");
    let (_world, read) = node_with_parties(&row).await;
    let readers: Vec<_> = (0..20).map(|id| read(id, 1)).collect();
    tokio::time::sleep(MS).await;
    assert_eq!(row.calls(), 5, "the party's share");
    let began = tokio::time::Instant::now();
    read(100, 2).await.expect("no panic").expect("an answer");
    assert!(began.elapsed() < 600 * MS, "{:?}", began.elapsed());
    // This key's load is in the queue of the first party.
    let began = tokio::time::Instant::now();
    read(19, 3).await.expect("no panic").expect("an answer");
    assert!(began.elapsed() < 600 * MS, "{:?}", began.elapsed());
    drop(readers);
}
