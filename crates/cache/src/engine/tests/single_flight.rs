//! Single flight: one load per key in a process and in the cluster, also if the loading task or node fails.

use super::*;

/// Starts `n` concurrent readers, over the nodes in turn. Returns the answers and the time of the slowest.
async fn crowd(
    nodes: &[Engine],
    n: usize,
    policy: &Arc<Policy>,
    origin: &Arc<dyn Origin>,
) -> (Vec<Result<Answer, ReadError>>, Duration) {
    let began = tokio::time::Instant::now();
    let readers: Vec<_> = (0..n)
        .map(|i| {
            let (node, policy, origin) =
                (nodes[i % nodes.len()].clone(), Arc::clone(policy), Arc::clone(origin));
            tokio::spawn(async move { node.get(&key(1), "1", &policy, &origin).await })
        })
        .collect();
    let mut answers = Vec::new();
    for reader in readers {
        answers.push(reader.await.expect("no reader panics"));
    }
    (answers, began.elapsed())
}

#[tokio::test(start_paused = true)]
async fn cold_readers_on_two_nodes_load_once() {
    let world = World::new().await;
    let nodes = [world.node().await, world.node().await];
    let policy = policy(rules(Unproven::ReadOrigin));
    let row = Row::returning(200 * MS, "value");
    let origin = Arc::clone(&row) as Arc<dyn Origin>;
    let (answers, slowest) = crowd(&nodes, 1_000, &policy, &origin).await;
    assert!(answers.iter().all(|answer| text(answer.as_ref().unwrap()) == "value"));
    assert_eq!(row.calls(), 1);
    assert!(slowest <= 300 * MS, "{slowest:?}");
}

#[tokio::test(start_paused = true)]
async fn race_20_dead_leaseholder_replaced() {
    let world = World::new().await;
    let policy = policy(rules(Unproven::ReadOrigin));
    let row = Row::returning(200 * MS, "value");
    // The tasks of a dead node are gone; its lease remains until it expires.
    let dead = world.shared.tier.read(&key(1), Some(Duration::from_secs(2))).await.unwrap();
    assert!(matches!(dead.outcome, crate::shared::Outcome::Lead(_)));
    let nodes = [world.node().await, world.node().await];
    let origin = Arc::clone(&row) as Arc<dyn Origin>;
    let (answers, slowest) = crowd(&nodes, 100, &policy, &origin).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(row.calls(), 1, "one load besides that of the dead node");
    assert!(slowest >= 2_000 * MS, "no load started before the lease expired: {slowest:?}");
    assert!(slowest <= 2_300 * MS, "{slowest:?}");
}

#[tokio::test(start_paused = true)]
async fn race_20_heartbeat_keeps_lease() {
    let world = World::new().await;
    let nodes = [world.node().await, world.node().await];
    let policy = policy(rules(Unproven::ReadOrigin));
    let row = Row::returning(Duration::from_millis(4_500), "value");
    let origin = Arc::clone(&row) as Arc<dyn Origin>;
    let (answers, _) = crowd(&nodes, 10, &policy, &origin).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(row.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn race_20_replaced_leaseholder_fill_rejected() {
    let world = World::new().await;
    let policy = policy(rules(Unproven::ReadOrigin));
    let node = world.node().await;
    let row = Row::returning(Duration::from_secs(4), "late");
    let slow = tokio::spawn({
        let (node, policy, row) = (node.clone(), Arc::clone(&policy), Arc::clone(&row));
        async move { read(&node, &policy, &row).await }
    });
    tokio::time::sleep(MS).await;
    // No heartbeat arrives for longer than the lease lasts.
    world.shared.down.store(true, Ordering::Relaxed);
    tokio::time::sleep(2_500 * MS).await;
    world.shared.down.store(false, Ordering::Relaxed);
    let taken = world.shared.tier.read(&key(1), Some(Duration::from_secs(10))).await.unwrap();
    assert!(matches!(taken.outcome, crate::shared::Outcome::Lead(_)));
    let answer = slow.await.unwrap().expect("its own readers are answered");
    assert_eq!(text(&answer), "late");
    assert_ne!(answer.proof().stored, Some(Verdict::Accept), "the shared tier refuses it");
}

#[tokio::test(start_paused = true)]
async fn load_outlives_cancelled_reader() {
    let world = World::new().await;
    let node = world.node().await;
    let policy = policy(rules(Unproven::ReadOrigin));
    let row = Row::returning(100 * MS, "value");
    let impatient = tokio::time::timeout(10 * MS, read(&node, &policy, &row)).await;
    assert!(impatient.is_err());
    assert_eq!(served(&node, &policy, &row).await, is("value", Tier::Origin));
    assert_eq!(row.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn panicking_load_fails_its_waiters() {
    let world = World::new().await;
    let node = world.node().await;
    let policy = policy(rules(Unproven::ReadOrigin));
    let row = Row::new(10 * MS, |call| {
        assert!(call > 0, "the first load panics");
        Ok(present("value"))
    });
    let origin = Arc::clone(&row) as Arc<dyn Origin>;
    let (answers, _) = crowd(std::slice::from_ref(&node), 20, &policy, &origin).await;
    assert!(answers.iter().all(|answer| matches!(answer, Err(ReadError::Aborted))));
    assert_eq!(served(&node, &policy, &row).await, is("value", Tier::Origin));
}

#[tokio::test(start_paused = true)]
async fn uncacheable_readers_load_in_parallel() {
    let world = World::new().await;
    let node = world.node().await;
    let policy = policy(rules(Unproven::ReadOrigin));
    let row = Row::new(50 * MS, |_| Ok(uncacheable()));
    let origin = Arc::clone(&row) as Arc<dyn Origin>;
    // The first readers wait for one load, whose answer is uncacheable; then each makes its own.
    let (answers, slowest) = crowd(std::slice::from_ref(&node), 15, &policy, &origin).await;
    assert!(answers.iter().all(|answer| text(answer.as_ref().unwrap()) == "uncacheable"));
    assert!(slowest <= 101 * MS, "{slowest:?}");
    assert_eq!(row.calls(), 15, "each has its own answer");
    // From then on the key is known to be uncacheable.
    let (_, slowest) = crowd(std::slice::from_ref(&node), 15, &policy, &origin).await;
    assert!(slowest <= 51 * MS, "{slowest:?}");
    // The mark is dropped when the page becomes cacheable.
    row.update("public now");
    assert_eq!(served(&node, &policy, &row).await, is("public now", Tier::Origin));
    assert_eq!(served(&node, &policy, &row).await, is("public now", Tier::Local));
}

#[tokio::test(start_paused = true)]
async fn zero_budget_skips_earlier_load() {
    let world = World::new().await;
    let node = world.node().await;
    let mut strict = rules(Unproven::ReadOrigin);
    strict.budget = Duration::ZERO;
    let policy = policy(strict);
    let row = Row::returning(100 * MS, "before my write");
    let early = tokio::spawn({
        let (node, policy, row) = (node.clone(), Arc::clone(&policy), Arc::clone(&row));
        async move { read(&node, &policy, &row).await }
    });
    tokio::time::sleep(50 * MS).await;
    row.update("my write");
    let origin = Arc::clone(&row) as Arc<dyn Origin>;
    let (answers, _) = crowd(std::slice::from_ref(&node), 10, &policy, &origin).await;
    assert!(answers.iter().all(|answer| text(answer.as_ref().unwrap()) == "my write"));
    assert_eq!(text(&early.await.unwrap().unwrap()), "before my write");
    assert_eq!(row.calls(), 2, "the later ones share a load");
}
