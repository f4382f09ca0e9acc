//! The contracts' rules for unproven freshness and for failed loads.

use super::*;

/// A node with the entry "old", which can't be proven any more; the row has changed to "new".
async fn unprovable(policy: &Arc<Policy>) -> (World, Engine, Arc<Row>) {
    let world = World::new().await;
    let node = world.node().await;
    let row = Row::returning(10 * MS, "old");
    read(&node, policy, &row).await.expect("an answer");
    row.update("new");
    world.cut_off_primary();
    tokio::time::sleep(3 * BUDGET).await;
    (world, node, row)
}

#[tokio::test(start_paused = true)]
async fn serve_stale_reports_stale() {
    let policy = policy(rules(Unproven::ServeStale));
    let (_world, node, row) = unprovable(&policy).await;
    let answer = read(&node, &policy, &row).await.expect("an answer");
    assert_eq!(text(&answer), "old");
    assert_eq!(answer.proof().stale, Some(Stale::Unproven));
    assert!(answer.proof().bound.is_some_and(|bound| bound > BUDGET), "the bound is not hidden");
    assert_eq!(row.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn read_origin_loads_once_per_budget() {
    let policy = policy(rules(Unproven::ReadOrigin));
    let (_world, node, row) = unprovable(&policy).await;
    let answer = read(&node, &policy, &row).await.expect("an answer");
    assert_eq!((text(&answer).as_str(), answer.proof().tier), ("new", Tier::Origin));
    assert!(
        answer.proof().bound.is_some_and(|bound| bound <= 10 * MS),
        "{:?}",
        answer.proof().bound
    );
    // The load itself proves its entry for as long as the budget.
    assert_eq!(served(&node, &policy, &row).await, is("new", Tier::Local));
    row.update("newer");
    tokio::time::sleep(BUDGET).await;
    assert_eq!(served(&node, &policy, &row).await, is("newer", Tier::Origin));
}

#[tokio::test(start_paused = true)]
async fn fail_returns_unproven_error() {
    let policy = policy(rules(Unproven::Fail));
    let (_world, node, row) = unprovable(&policy).await;
    let err = read(&node, &policy, &row).await.expect_err("no answer");
    assert!(matches!(err, ReadError::Unproven { bound: Some(_), budget: BUDGET }), "{err}");
    assert!(err.retry_after().is_some());
    assert_eq!(row.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn dead_feed_grows_the_bound() {
    let world = World::new().await;
    let node = world.node().await;
    let policy = policy(rules(Unproven::ReadOrigin));
    let row = Row::returning(MS, "old");
    read(&node, &policy, &row).await.expect("an answer");
    tokio::time::sleep(BUDGET * 2).await;
    assert_eq!(served(&node, &policy, &row).await, is("old", Tier::Local), "an idle log is proven");
    row.update("new");
    let _never_applied = world.commit_unapplied(vec![Subject::Key(key(1))]);
    tokio::time::sleep(BUDGET + 250 * MS).await;
    assert!(node.status().bound.is_some_and(|bound| bound > BUDGET));
    assert_eq!(served(&node, &policy, &row).await, is("new", Tier::Origin));
}

#[tokio::test(start_paused = true)]
async fn serve_stale_covers_failed_load() {
    for (rule, covered) in [(Unproven::ServeStale, true), (Unproven::ReadOrigin, false)] {
        let world = World::new().await;
        let node = world.node().await;
        let policy = policy(rules(rule));
        let row = Row::returning(MS, "old");
        read(&node, &policy, &row).await.expect("an answer");
        row.set(|_| Err(failing()));
        tokio::time::sleep(policy.rules.ttl * 2).await;
        let outcome = read(&node, &policy, &row).await;
        match outcome {
            Ok(answer) if covered => assert_eq!(answer.proof().stale, Some(Stale::OriginFailed)),
            Err(ReadError::Origin(_)) if !covered => {}
            other => panic!("{rule:?}: {other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn invalidated_entry_covers_no_failure() {
    let over = BUDGET + MS;
    // A soft-stale entry may cover a failure within its budget, where the governor may spend it.
    for (governor, cause, later) in [
        (false, Cause::Commit, Duration::ZERO),
        (true, Cause::Commit, over),
        (true, Cause::Application, Duration::ZERO),
        (true, Cause::Purge, Duration::ZERO),
    ] {
        let world = World::new().await;
        let node = world.node_governed(governor).await;
        let policy = policy(rules(Unproven::ServeStale));
        let row = Row::returning(MS, "erased");
        read(&node, &policy, &row).await.expect("an answer");
        row.set(|_| Err(failing()));
        let mut batch = world.commit_unapplied(vec![Subject::Key(key(1))]);
        batch.events[0].cause = cause;
        world.shared.apply(&batch).await.unwrap().unwrap();
        settle().await;
        tokio::time::sleep(later).await;
        let outcome = read(&node, &policy, &row).await;
        assert!(matches!(outcome, Err(ReadError::Origin(_))), "{governor} {cause:?}: {outcome:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn excluded_tier_stores_nothing() {
    let world = World::new().await;
    let node = world.node().await;
    let mut shared_only = rules(Unproven::ReadOrigin);
    shared_only.tiers = contract::Tiers::SHARED;
    let shared_only = policy(shared_only);
    let row = Row::returning(MS, "value");
    assert_eq!(served(&node, &shared_only, &row).await, is("value", Tier::Origin));
    assert_eq!(served(&node, &shared_only, &row).await, is("value", Tier::Shared));
    assert_eq!(node.status().entries, 0);

    let mut nowhere = rules(Unproven::ReadOrigin);
    nowhere.tiers = contract::Tiers::NONE;
    let (nowhere, row) = (policy(nowhere), Row::returning(MS, "private"));
    for _ in 0..2 {
        assert_eq!(served(&node, &nowhere, &row).await, is("private", Tier::Origin));
    }
    assert_eq!(row.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn untiered_load_shared_with_waiters() {
    let world = World::new().await;
    let node = world.node().await;
    let mut abroad = rules(Unproven::ReadOrigin);
    (abroad.tiers, abroad.collapses) = (contract::Tiers::NONE, true);
    let (abroad, row) = (policy(abroad), Row::returning(50 * MS, "resident"));
    let readers = (0..10).map(|_| {
        let (node, abroad, row) = (node.clone(), Arc::clone(&abroad), Arc::clone(&row));
        tokio::spawn(async move { served(&node, &abroad, &row).await })
    });
    for reader in readers.collect::<Vec<_>>() {
        assert_eq!(reader.await.expect("no panic"), is("resident", Tier::Origin));
    }
    assert_eq!(row.calls(), 1);
    assert_eq!(served(&node, &abroad, &row).await, is("resident", Tier::Origin));
    assert_eq!(row.calls(), 2, "the answer is not stored");
    assert_eq!(node.status().entries, 0);
    let read = world.shared.tier.read(&key(1), None).await.unwrap();
    assert!(matches!(read.outcome, crate::shared::Outcome::Miss));
}

#[tokio::test(start_paused = true)]
async fn hot_key_refreshed_before_expiry() {
    let world = World::new().await;
    let node = world.node().await;
    let mut eager = rules(Unproven::ReadOrigin);
    eager.refresh = contract::Refresh { beta: 1.0, jitter: 0.1 };
    eager.ttl = Duration::from_secs(10);
    let policy = policy(eager);
    let row = Row::returning(200 * MS, "value");
    read(&node, &policy, &row).await.expect("an answer");
    for _ in 0..6_000 {
        tokio::time::sleep(10 * MS).await;
        assert_eq!(served(&node, &policy, &row).await.1, Tier::Local, "no reader waits");
    }
    let loads = row.calls();
    assert!((6..=14).contains(&loads), "about one load per ten seconds, not {loads}");
}

#[tokio::test(start_paused = true)]
async fn stale_while_revalidate_serves_and_renews() {
    let world = World::new().await;
    let node = world.node().await;
    let mut soft = rules(Unproven::ReadOrigin);
    soft.ttl = Duration::from_secs(5);
    soft.stale_while_revalidate = Duration::from_secs(5);
    let policy = policy(soft);
    let row = Row::returning(100 * MS, "first");
    read(&node, &policy, &row).await.expect("an answer");
    row.update("second");
    tokio::time::sleep(Duration::from_secs(6)).await;
    let answer = read(&node, &policy, &row).await.expect("an answer");
    assert_eq!(
        (text(&answer).as_str(), answer.proof().stale),
        ("first", Some(Stale::Revalidating))
    );
    tokio::time::sleep(200 * MS).await;
    assert_eq!(served(&node, &policy, &row).await, is("second", Tier::Local));
    assert_eq!(row.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn oversized_answer_not_stored() {
    let world = World::new().await;
    let node = world.node().await;
    let mut small = rules(Unproven::ReadOrigin);
    small.max_bytes = 4;
    let policy = policy(small);
    let row = Row::returning(MS, "too big");
    for _ in 0..2 {
        assert_eq!(served(&node, &policy, &row).await, is("too big", Tier::Origin));
    }
    assert_eq!(node.status().entries, 0);
}

#[tokio::test(start_paused = true)]
async fn replaced_rules_keep_the_state() {
    let world = World::new().await;
    let node = world.node().await;
    let old = policy(rules(Unproven::ReadOrigin));
    let row = Row::returning(MS, "value");
    served(&node, &old, &row).await;
    assert_eq!(served(&node, &old, &row).await, is("value", Tier::Local));
    let new = Arc::new(old.with_rules(Rules { budget: BUDGET * 2, ..old.rules.clone() }));
    assert_eq!(served(&node, &new, &row).await, is("value", Tier::Local));
    assert_eq!((old.state.hits.sum(), new.state.hits.sum()), (2, 2), "one counter");
    assert!(new.state.pressure.get().is_some(), "the pressure is known before the first load");
    tokio::time::sleep(MS).await;
    let strict = Arc::new(old.with_rules(Rules { budget: Duration::ZERO, ..old.rules.clone() }));
    assert_eq!(served(&node, &strict, &row).await.1, Tier::Origin, "the new rules apply");
}
