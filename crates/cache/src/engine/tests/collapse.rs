//! One load per key: in a process, in the cluster, whatever becomes of whoever makes it.

use super::*;

/// `n` readers at once, over the nodes in turn; answers and how long the slowest took.
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
async fn a_thousand_cold_readers_on_two_nodes_cost_one_load() {
    let world = World::new().await;
    let nodes = [world.node().await, world.node().await];
    let policy = Arc::new(policy(Unproven::ReadOrigin));
    let row = Row::saying(200 * MS, "value");
    let origin = Arc::clone(&row) as Arc<dyn Origin>;
    let (answers, slowest) = crowd(&nodes, 1_000, &policy, &origin).await;
    assert!(answers.iter().all(|answer| text(answer.as_ref().unwrap()) == "value"));
    assert_eq!(row.calls(), 1);
    assert!(slowest <= 300 * MS, "{slowest:?}");
}

#[tokio::test(start_paused = true)]
async fn race_20_a_holder_that_dies_is_replaced_and_frees_nothing_early() {
    let world = World::new().await;
    let policy = Arc::new(policy(Unproven::ReadOrigin));
    let row = Row::saying(200 * MS, "value");
    // A node that dies is one whose tasks are gone: its lease stays until it runs out.
    let dead = world.shared.tier.read(&key(1), Some(Duration::from_secs(2))).await.unwrap();
    assert!(matches!(dead.outcome, crate::shared::Outcome::Lead(_)));
    let nodes = [world.node().await, world.node().await];
    let origin = Arc::clone(&row) as Arc<dyn Origin>;
    let (answers, slowest) = crowd(&nodes, 100, &policy, &origin).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(row.calls(), 1, "one load beside the dead one's");
    assert!(slowest >= 2_000 * MS, "nobody went before the lease had run out: {slowest:?}");
    assert!(slowest <= 2_300 * MS, "{slowest:?}");
}

#[tokio::test(start_paused = true)]
async fn race_20_a_slow_holder_keeps_its_lease_by_heartbeat() {
    let world = World::new().await;
    let nodes = [world.node().await, world.node().await];
    let policy = Arc::new(policy(Unproven::ReadOrigin));
    let row = Row::saying(Duration::from_millis(4_500), "value");
    let origin = Arc::clone(&row) as Arc<dyn Origin>;
    let (answers, _) = crowd(&nodes, 10, &policy, &origin).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(row.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn race_20_the_late_fill_of_a_replaced_holder_is_refused_but_answers_its_readers() {
    let world = World::new().await;
    let policy = Arc::new(policy(Unproven::ReadOrigin));
    let node = world.node().await;
    let row = Row::saying(Duration::from_secs(4), "late");
    let slow = tokio::spawn({
        let (node, policy, row) = (node.clone(), Arc::clone(&policy), Arc::clone(&row));
        async move { read(&node, &policy, &row).await }
    });
    tokio::time::sleep(MS).await;
    // The heartbeats don't arrive for longer than the lease lasts.
    world.shared.down.store(true, Ordering::Relaxed);
    tokio::time::sleep(2_500 * MS).await;
    world.shared.down.store(false, Ordering::Relaxed);
    let taken = world.shared.tier.read(&key(1), Some(Duration::from_secs(10))).await.unwrap();
    assert!(matches!(taken.outcome, crate::shared::Outcome::Lead(_)));
    let answer = slow.await.unwrap().expect("its own readers are answered");
    assert_eq!(text(&answer), "late");
    assert_ne!(answer.proof().stored, Some(Verdict::Accept), "the shared tier does not take it");
}

#[tokio::test(start_paused = true)]
async fn the_load_survives_the_reader_that_began_it() {
    let world = World::new().await;
    let node = world.node().await;
    let policy = Arc::new(policy(Unproven::ReadOrigin));
    let row = Row::saying(100 * MS, "value");
    let impatient = tokio::time::timeout(10 * MS, read(&node, &policy, &row)).await;
    assert!(impatient.is_err());
    assert_eq!(said(&node, &policy, &row).await, is("value", Tier::Origin));
    assert_eq!(row.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_load_that_panics_strands_nobody() {
    let world = World::new().await;
    let node = world.node().await;
    let policy = Arc::new(policy(Unproven::ReadOrigin));
    let row = Row::new(10 * MS, |call| {
        assert!(call > 0, "the first load panics");
        Ok(present("value"))
    });
    let origin = Arc::clone(&row) as Arc<dyn Origin>;
    let (answers, _) = crowd(std::slice::from_ref(&node), 20, &policy, &origin).await;
    assert!(answers.iter().all(|answer| matches!(answer, Err(ReadError::Aborted))));
    assert_eq!(said(&node, &policy, &row).await, is("value", Tier::Origin));
}

#[tokio::test(start_paused = true)]
async fn readers_of_an_uncacheable_answer_do_not_queue() {
    let world = World::new().await;
    let node = world.node().await;
    let policy = Arc::new(policy(Unproven::ReadOrigin));
    let row = Row::new(50 * MS, |_| Ok(uncacheable()));
    let origin = Arc::clone(&row) as Arc<dyn Origin>;
    // The first readers can't know; they wait for one load, then each makes its own.
    let (answers, slowest) = crowd(std::slice::from_ref(&node), 15, &policy, &origin).await;
    assert!(answers.iter().all(|answer| text(answer.as_ref().unwrap()) == "uncacheable"));
    assert!(slowest <= 101 * MS, "{slowest:?}");
    assert_eq!(row.calls(), 15, "each has its own answer");
    // From then on it is known.
    let (_, slowest) = crowd(std::slice::from_ref(&node), 15, &policy, &origin).await;
    assert!(slowest <= 51 * MS, "{slowest:?}");
    // And forgotten when the page becomes cacheable.
    row.say("public now");
    assert_eq!(said(&node, &policy, &row).await, is("public now", Tier::Origin));
    assert_eq!(said(&node, &policy, &row).await, is("public now", Tier::Local));
}

#[tokio::test(start_paused = true)]
async fn with_a_budget_of_zero_nobody_gets_what_was_read_before_they_asked() {
    let world = World::new().await;
    let node = world.node().await;
    let mut strict = policy(Unproven::ReadOrigin);
    strict.budget = Duration::ZERO;
    let policy = Arc::new(strict);
    let row = Row::saying(100 * MS, "before my write");
    let early = tokio::spawn({
        let (node, policy, row) = (node.clone(), Arc::clone(&policy), Arc::clone(&row));
        async move { read(&node, &policy, &row).await }
    });
    tokio::time::sleep(50 * MS).await;
    row.say("my write");
    let origin = Arc::clone(&row) as Arc<dyn Origin>;
    let (answers, _) = crowd(std::slice::from_ref(&node), 10, &policy, &origin).await;
    assert!(answers.iter().all(|answer| text(answer.as_ref().unwrap()) == "my write"));
    assert_eq!(text(&early.await.unwrap().unwrap()), "before my write");
    assert_eq!(row.calls(), 2, "the later ones share a load");
}
