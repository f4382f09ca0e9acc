//! Race 15: a client writes on one node and reads on another.

use super::*;

fn row_1() -> Vec<Subject> {
    vec![Subject::Key(key(1))]
}

async fn read_after(
    engine: &Engine,
    policy: &Arc<Policy>,
    row: &Arc<Row>,
    after: CausalToken,
) -> Result<Answer, ReadError> {
    let origin = Arc::clone(row) as Arc<dyn Origin>;
    engine.get_after(&key(1), "1", policy, &origin, Some(after)).await
}

async fn served_after(
    engine: &Engine,
    policy: &Arc<Policy>,
    row: &Arc<Row>,
    after: CausalToken,
) -> (String, Tier) {
    let answer = read_after(engine, policy, row, after).await.expect("an answer");
    (text(&answer), answer.proof().tier)
}

fn token(batch: &Batch) -> CausalToken {
    CausalToken::new(Some(batch.epoch.log()), batch.upto)
}

#[tokio::test(start_paused = true)]
async fn race_15_own_write_read_elsewhere() {
    let world = World::new().await;
    let (one, two, cold) = (world.node().await, world.node().await, world.node().await);
    let policy = policy(rules(Unproven::ReadOrigin));
    let row = Row::returning(MS, "old");
    for node in [&one, &two] {
        served(node, &policy, &row).await;
        assert_eq!(served(node, &policy, &row).await, is("old", Tier::Local));
    }
    row.update("new");
    let unapplied = world.commit_unapplied(row_1());
    let token = token(&unapplied);
    // One node has the old row in its own tier, the other finds it in the shared tier.
    for node in [&two, &cold] {
        assert!(node.peek_after(&key(1), &policy, token).is_none());
        assert_eq!(served_after(node, &policy, &row, token).await, is("new", Tier::Origin));
    }
    assert_eq!(served(&one, &policy, &row).await.0, "old", "without a token the contract applies");
    world.shared.apply(&unapplied).await.unwrap().unwrap();
    settle().await;
    let calls = row.calls();
    for node in [&one, &two, &cold] {
        assert_eq!(served_after(node, &policy, &row, token).await.0, "new");
        assert_eq!(served_after(node, &policy, &row, token).await, is("new", Tier::Local));
    }
    assert_eq!(row.calls(), calls + 1);
}

#[tokio::test(start_paused = true)]
async fn tier_reaching_token_in_time_answers() {
    let world = World::new().await;
    let (one, cold) = (world.node().await, world.node().await);
    let policy = policy(rules(Unproven::ReadOrigin));
    let row = Row::returning(MS, "same");
    served(&one, &policy, &row).await;
    let unapplied = world.commit_unapplied(vec![Subject::Key(key(2))]);
    let token = token(&unapplied);
    let commit = async {
        tokio::time::sleep(50 * MS).await;
        world.shared.apply(&unapplied).await.unwrap().unwrap();
    };
    let (local, shared, ()) = tokio::join!(
        served_after(&one, &policy, &row, token),
        served_after(&cold, &policy, &row, token),
        commit,
    );
    assert_eq!(local, is("same", Tier::Local));
    assert_eq!(shared, is("same", Tier::Shared));
    assert_eq!(row.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn writer_skips_load_from_before_write() {
    let world = World::new().await;
    let node = world.node().await;
    let policy = policy(rules(Unproven::ReadOrigin));
    let row = Row::returning(100 * MS, "old");
    let early = tokio::spawn({
        let (node, policy, row) = (node.clone(), Arc::clone(&policy), Arc::clone(&row));
        async move { served(&node, &policy, &row).await }
    });
    tokio::time::sleep(50 * MS).await;
    row.update("new");
    let token = token(&world.commit_unapplied(row_1()));
    // Two writers share the load that starts for the first of them, after both reads began.
    *world.shared.late_reads.lock() = MS;
    let (first, second) = tokio::join!(
        served_after(&node, &policy, &row, token),
        served_after(&node, &policy, &row, token),
    );
    assert_eq!((first.0.as_str(), second.0.as_str()), ("new", "new"));
    assert_eq!(early.await.unwrap().0, "old", "it read before the write");
    assert_eq!(row.calls(), 2);
}

/// Found by the simulation (seed 889 of its first version): within one tick of the clock a load can read
/// its row, a write can be acknowledged, and its writer can read.
#[tokio::test(start_paused = true)]
async fn writer_skips_load_of_same_tick() {
    let world = World::new().await;
    let node = world.node().await;
    let policy = policy(rules(Unproven::ReadOrigin));
    let row = Row::returning(100 * MS, "old");
    let early = tokio::spawn({
        let (node, policy, row) = (node.clone(), Arc::clone(&policy), Arc::clone(&row));
        async move { served(&node, &policy, &row).await }
    });
    settle().await;
    assert_eq!(row.calls(), 1, "it has read the row");
    row.update("new");
    let token = token(&world.commit_unapplied(row_1()));
    assert_eq!(served_after(&node, &policy, &row, token).await.0, "new");
    assert_eq!(early.await.unwrap().0, "old", "it read before the write");
}

#[tokio::test(start_paused = true)]
async fn token_not_covered_by_older_entry() {
    let world = World::new().await;
    let node = world.node().await;
    let policy = policy(rules(Unproven::ServeStale));
    let row = Row::returning(MS, "old");
    served(&node, &policy, &row).await;
    row.set(|_| Err(failing()));
    let token = token(&world.commit_unapplied(row_1()));
    assert!(matches!(read_after(&node, &policy, &row, token).await, Err(ReadError::Origin(_))));
    // Nor when the bound is lost: the entry may be served stale, but not to the writer.
    world.cut_off_primary();
    tokio::time::sleep(BUDGET * 2).await;
    let stale = read(&node, &policy, &row).await.expect("served stale by its contract");
    assert_eq!(stale.proof().stale, Some(Stale::Unproven));
    assert!(read_after(&node, &policy, &row, token).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn foreign_token_reads_origin_at_once() {
    let world = World::new().await;
    let node = world.node().await;
    let policy = policy(rules(Unproven::ReadOrigin));
    let row = Row::returning(MS, "value");
    served(&node, &policy, &row).await;
    let token = CausalToken::new(Some(Epoch { timeline: 2, ..EPOCH }.log()), Lsn(1));
    let began = world.clock.mono();
    assert_eq!(served_after(&node, &policy, &row, token).await, is("value", Tier::Origin));
    assert!(world.clock.mono().since(began) < 10 * MS, "waiting would not help");
}
