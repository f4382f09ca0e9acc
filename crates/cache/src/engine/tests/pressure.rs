//! An overloaded origin, and a failing shared tier.

use contract::Class;

use super::*;

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
    let gate = node.origin_gate(row.name(), Some(10));
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
