//! Batches: one round trip to each tier.

use super::table::{Table, texts};
use super::*;

fn trips(world: &World) -> (usize, usize) {
    let count = |counter: &AtomicUsize| counter.swap(0, Ordering::Relaxed);
    (count(&world.shared.single_reads), count(&world.shared.batch_reads))
}

fn ids(range: std::ops::Range<u32>) -> Vec<u32> {
    range.collect()
}

#[tokio::test(start_paused = true)]
async fn batch_costs_one_round_trip_per_tier() {
    let world = World::new().await;
    let (node, other) = (world.node().await, world.node().await);
    let policy = policy(rules(Unproven::ReadOrigin));
    let table = Table::returning(&world, "value");
    // Rows 0 to 19 are in the node's own tier, 20 to 34 in the shared one only.
    node.get_many(&table.items(&policy, &ids(0..20)), None).await;
    other.get_many(&table.items(&policy, &ids(20..35)), None).await;
    assert_eq!((trips(&world), table.calls()), ((0, 2), (0, 2)));

    let answers = node.get_many(&table.items(&policy, &ids(0..50)), None).await;
    assert_eq!(texts(&answers), vec!["value"; 50]);
    assert_eq!(trips(&world), (0, 1), "one call to the shared tier");
    assert_eq!(table.calls(), (0, 3), "one more load");
    assert_eq!(table.rows_loaded.load(Ordering::Relaxed), 50, "nothing is loaded twice");
    let tiers: Vec<Tier> = answers.iter().map(|a| a.as_ref().unwrap().proof().tier).collect();
    let expected = [(Tier::Local, 20), (Tier::Shared, 15), (Tier::Origin, 15)];
    assert_eq!(tiers, expected.iter().flat_map(|(t, n)| vec![*t; *n]).collect::<Vec<_>>());

    let again = node.get_many(&table.items(&policy, &ids(0..50)), None).await;
    assert!(again.iter().all(|a| a.as_ref().unwrap().proof().tier == Tier::Local));
    assert_eq!((trips(&world), table.calls()), ((0, 0), (0, 3)));
}

#[tokio::test(start_paused = true)]
async fn overlapping_batches_load_keys_once() {
    let world = World::new().await;
    let (one, two) = (world.node().await, world.node().await);
    let policy = policy(rules(Unproven::ReadOrigin));
    let table = Table::returning(&world, "value");
    let origin = Arc::clone(&table) as Arc<dyn Origin>;
    let (low, high) = (table.items(&policy, &ids(0..30)), table.items(&policy, &ids(20..50)));
    // Overlapping batches on one node and on two, a single read, and keys that are named twice.
    let mut twice = low.clone();
    twice.extend(low.clone());
    let shared_key = key(25);
    let (a, b, c, d) = tokio::join!(
        one.get_many(&twice, None),
        one.get_many(&high, None),
        two.get_many(&low, None),
        two.get(&shared_key, "25", &policy, &origin),
    );
    assert_eq!((a.len(), texts(&a)), (60, vec!["value".to_owned(); 60]));
    assert_eq!((texts(&b), texts(&c)), (vec!["value".to_owned(); 30], vec!["value".into(); 30]));
    assert_eq!(text(&d.unwrap()), "value");
    assert_eq!(table.rows_loaded.load(Ordering::Relaxed), 50, "each row once, in the cluster");
}

#[tokio::test(start_paused = true)]
async fn bad_item_fails_alone() {
    let world = World::new().await;
    let node = world.node().await;
    let policy = policy(rules(Unproven::ReadOrigin));
    let table = Table::returning(&world, "value");
    let mut items = table.items(&policy, &[1, 2, 3]);
    items[1].id = "two".into();
    for atomic in [false, true] {
        let answers = match atomic {
            false => node.get_many(&items, None).await,
            true => node.get_atomic(&items, None).await.expect("an answer").answers,
        };
        assert_eq!(text(answers[0].as_ref().unwrap()), "value");
        assert_eq!(text(answers[2].as_ref().unwrap()), "value");
        let err = answers[1].as_ref().expect_err("no row has that id");
        assert!(matches!(err, ReadError::Origin(err) if err.kind == OriginErrorKind::BadRequest));
    }
}

#[tokio::test(start_paused = true)]
async fn batch_without_shared_tier_loads_once() {
    let world = World::new().await;
    let node = world.node().await;
    let policy = policy(rules(Unproven::ReadOrigin));
    let table = Table::returning(&world, "value");
    world.shared.down.store(true, Ordering::Relaxed);
    let answers = node.get_many(&table.items(&policy, &ids(0..50)), None).await;
    assert_eq!(texts(&answers), vec!["value"; 50]);
    assert_eq!(table.calls(), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn untiered_batch_loads_once() {
    let world = World::new().await;
    let node = world.node().await;
    let mut never = rules(Unproven::ReadOrigin);
    never.tiers = contract::Tiers::NONE;
    let never = policy(never);
    let table = Table::returning(&world, "value");
    for calls in 1..3 {
        let answers = node.get_many(&table.items(&never, &ids(0..10)), None).await;
        assert_eq!(texts(&answers), vec!["value"; 10]);
        assert_eq!(table.calls(), (0, calls));
    }
    assert_eq!(trips(&world), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn batch_with_token_has_the_write() {
    let world = World::new().await;
    let node = world.node().await;
    let policy = policy(rules(Unproven::ReadOrigin));
    let table = Table::returning(&world, "old");
    let items = table.items(&policy, &[1, 2, 3]);
    node.get_many(&items, None).await;
    let unapplied = table.commit(&world, &[1, 2], "new");
    let token = CausalToken::new(Some(unapplied.epoch.log()), unapplied.upto);
    assert_eq!(texts(&node.get_many(&items, None).await), ["old"; 3], "the contract allows it");
    assert_eq!(texts(&node.get_many(&items, Some(token)).await), ["new", "new", "old"]);
    let together = node.get_atomic(&items, Some(token)).await.expect("an answer");
    assert_eq!(texts(&together.answers), ["new", "new", "old"]);
}

#[tokio::test(start_paused = true)]
async fn failed_batch_follows_each_contract() {
    let world = World::new().await;
    let node = world.node().await;
    let (strict, mild) = (rules(Unproven::ReadOrigin), rules(Unproven::ServeStale));
    let (strict, mild) = (policy(strict), policy(mild));
    let row = Row::returning(MS, "value");
    let item = |policy: &Arc<Policy>, id: u32| Item {
        key: key(id),
        id: id.to_string().into(),
        policy: Arc::clone(policy),
        origin: Arc::clone(&row) as Arc<dyn Origin>,
    };
    let items = [item(&strict, 1), item(&mild, 2)];
    assert_eq!(texts(&node.get_many(&items, None).await), ["value"; 2]);
    world.cut_off_primary();
    tokio::time::sleep(BUDGET * 2).await;
    row.set(|_| Err(failing()));
    let answers = node.get_many(&items, None).await;
    assert!(matches!(&answers[0], Err(ReadError::Origin(_))), "{:?}", answers[0]);
    assert_eq!(answers[1].as_ref().unwrap().proof().stale, Some(Stale::Unproven));
}

/// The steps of a transaction and the calls of a batch are written to one connection in this order.
#[tokio::test(start_paused = true)]
async fn join_all_starts_in_order() {
    for count in [3, 100] {
        let begun = Mutex::new(Vec::new());
        let started = tokio::time::Instant::now();
        let futures = (0..count).map(|n| {
            let begun = &begun;
            async move {
                begun.lock().push(n);
                tokio::time::sleep(MS * (count - n)).await;
                n * 10
            }
        });
        let outputs = futures_util::future::join_all(futures).await;
        assert_eq!(outputs, (0..count).map(|n| n * 10).collect::<Vec<_>>());
        assert_eq!(*begun.lock(), (0..count).collect::<Vec<_>>());
        assert_eq!(started.elapsed(), MS * count, "they run concurrently");
    }
}
