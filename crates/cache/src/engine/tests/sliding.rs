//! Sliding TTLs.

use contract::{Refresh, Tiers};

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const NO_LIMIT: Touch = Touch::within(Duration::MAX);

/// Rules with a sliding TTL of a minute.
fn session(unproven: Unproven) -> Rules {
    Rules { sliding: Some(NO_LIMIT), ..rules(unproven) }
}

/// Reads every `pause` for the time `long`. Returns the number of loads.
async fn used(
    node: &Engine,
    policy: &Arc<Policy>,
    row: &Arc<Row>,
    pause: Duration,
    long: Duration,
) -> usize {
    let before = row.calls();
    for _ in 0..long.as_millis() / pause.as_millis() {
        tokio::time::sleep(pause).await;
        read(node, policy, row).await.expect("an answer");
    }
    row.calls() - before
}

#[tokio::test(start_paused = true)]
async fn use_prolongs_sliding_ttl() {
    for tiers in [Tiers::ALL, Tiers::SHARED, Tiers { local: true, shared: false }] {
        let world = World::new().await;
        let node = world.node().await;
        let policy = policy(Rules { tiers, ..session(Unproven::Fail) });
        let row = Row::returning(MS, "value");
        read(&node, &policy, &row).await.expect("an answer");
        assert_eq!(used(&node, &policy, &row, 50 * SECOND, 600 * SECOND).await, 0, "{tiers:?}");
        tokio::time::sleep(58 * SECOND).await;
        assert_ne!(served(&node, &policy, &row).await.1, Tier::Origin, "{tiers:?}");
        tokio::time::sleep(61 * SECOND).await;
        assert_eq!(
            served(&node, &policy, &row).await.1,
            Tier::Origin,
            "{tiers:?}: it was not used"
        );
        let plain = self::policy(Rules { sliding: None, ..session(Unproven::Fail) });
        assert!(used(&node, &plain, &row, 50 * SECOND, 600 * SECOND).await >= 5);
    }
}

#[tokio::test(start_paused = true)]
async fn batch_prolongs_sliding_ttl() {
    for atomic in [false, true] {
        let world = World::new().await;
        let node = world.node().await;
        let policy = policy(session(Unproven::Fail));
        let row = Row::new(MS, |_| Ok(Loaded { seen: Some(Lsn(10)), ..present("value") }));
        let origin = Arc::clone(&row) as Arc<dyn Origin>;
        let items = [Item { key: key(1), id: "1".into(), policy, origin }];
        for _ in 0..10 {
            if atomic {
                node.get_atomic(&items, None).await.expect("answers");
            } else {
                node.get_many(&items, None).await.pop().expect("one").expect("an answer");
            }
            tokio::time::sleep(40 * SECOND).await;
        }
        assert_eq!(row.calls(), 1, "atomic: {atomic}");
    }
}

#[tokio::test(start_paused = true)]
async fn local_hits_touch_shared_entry() {
    let world = World::new().await;
    let (node, other) = (world.node().await, world.node().await);
    let policy = policy(session(Unproven::Fail));
    let row = Row::returning(MS, "value");
    read(&node, &policy, &row).await.expect("an answer");
    let reads = world.shared.single_reads.load(Ordering::Relaxed);
    assert_eq!(used(&node, &policy, &row, 100 * MS, 600 * SECOND).await, 0);
    assert_eq!(world.shared.single_reads.load(Ordering::Relaxed), reads, "no round trip per hit");
    let touched = world.shared.touched.load(Ordering::Relaxed);
    assert!((30..=42).contains(&touched), "one touch per quarter of a minute, not {touched}");
    tokio::time::sleep(40 * SECOND).await;
    assert_eq!(served(&other, &policy, &row).await, is("value", Tier::Shared));
    assert_eq!(row.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn touches_sent_in_batches() {
    let world = World::new().await;
    let node = world.node().await;
    let policy = policy(session(Unproven::Fail));
    let row = Row::returning(MS, "value");
    let origin = Arc::clone(&row) as Arc<dyn Origin>;
    for _ in 0..2 {
        for id in 0..600 {
            node.get(&key(id), "1", &policy, &origin).await.expect("an answer");
        }
        tokio::time::sleep(16 * SECOND).await;
    }
    let touched = world.shared.touched.load(Ordering::Relaxed);
    assert_eq!(touched, 600);
    assert!(world.shared.touches.load(Ordering::Relaxed) <= 6);
}

#[tokio::test(start_paused = true)]
async fn sliding_ttl_ends_at_limit() {
    let world = World::new().await;
    let node = world.node().await;
    let limit = Some(Touch::within(100 * SECOND));
    let policy = policy(Rules { sliding: limit, ..session(Unproven::Fail) });
    let row = Row::returning(MS, "value");
    read(&node, &policy, &row).await.expect("an answer");
    assert_eq!(used(&node, &policy, &row, SECOND, 98 * SECOND).await, 0);
    assert_eq!(used(&node, &policy, &row, SECOND, 4 * SECOND).await, 1);
    // Also where the node is younger than the entry.
    let late = world.node().await;
    let plain = Rules { tiers: Tiers::SHARED, sliding: limit, ..session(Unproven::Fail) };
    let plain = self::policy(plain);
    assert_eq!(used(&late, &plain, &row, SECOND, 95 * SECOND).await, 0);
    assert_eq!(used(&late, &plain, &row, SECOND, 6 * SECOND).await, 1);
}

#[tokio::test(start_paused = true)]
async fn retention_limits_stale_serving() {
    let world = World::new().await;
    let node = world.node().await;
    let rules = Rules {
        retention: 90 * SECOND,
        stale_while_revalidate: 600 * SECOND,
        ..rules(Unproven::ServeStale)
    };
    let policy = policy(rules);
    let row = Row::returning(MS, "value");
    read(&node, &policy, &row).await.expect("an answer");
    row.set(|_| Err(failing()));
    tokio::time::sleep(80 * SECOND).await;
    read(&node, &policy, &row).await.expect("within its retention");
    tokio::time::sleep(11 * SECOND).await;
    assert!(read(&node, &policy, &row).await.is_err(), "not served, although the origin fails");
}

#[tokio::test(start_paused = true)]
async fn unproven_entry_not_prolonged() {
    for tiers in [Tiers::ALL, Tiers::SHARED] {
        let world = World::new().await;
        let node = world.node().await;
        let policy = policy(Rules { tiers, ..session(Unproven::ServeStale) });
        let row = Row::returning(MS, "old");
        read(&node, &policy, &row).await.expect("an answer");
        row.update("new");
        world.cut_off_primary();
        for _ in 0..7 {
            tokio::time::sleep(10 * SECOND).await;
            read(&node, &policy, &row).await.expect("an answer");
        }
        assert_eq!(row.calls(), 2, "{tiers:?}: the TTL of an unproven entry is not prolonged");
    }
}

#[tokio::test(start_paused = true)]
async fn lagging_shared_tier_ignores_touch() {
    let world = World::new().await;
    let (node, other) = (world.node().await, world.node().await);
    let policy = policy(session(Unproven::ServeStale));
    let row = Row::returning(MS, "value");
    read(&node, &policy, &row).await.expect("an answer");
    // This node's own tier is ahead, as that of a leader whose shared tier has stopped applying. So it
    // answers from its copy, and the touches that it sends prove nothing there.
    node.applied(&world.commit_unapplied(vec![Subject::Key(key(2))]));
    assert_eq!(used(&node, &policy, &row, 10 * SECOND, 70 * SECOND).await, 0);
    assert_eq!(node.status().bound.map(|bound| bound < BUDGET), Some(true));
    assert!(world.shared.touched.load(Ordering::Relaxed) > 0);
    let ended = served(&other, &policy, &row).await;
    assert_eq!(ended.1, Tier::Origin, "its TTL was not prolonged");
}

#[tokio::test(start_paused = true)]
async fn use_prolongs_no_proof() {
    let world = World::new().await;
    let node = world.node().await;
    let policy = policy(session(Unproven::Fail));
    let row = Row::returning(MS, "value");
    read(&node, &policy, &row).await.expect("an answer");
    used(&node, &policy, &row, 10 * SECOND, 100 * SECOND).await;
    row.update("new");
    world.commit(vec![Subject::Key(key(1))]).await;
    assert_eq!(served(&node, &policy, &row).await.0, "new", "a commit invalidates it at once");
    used(&node, &policy, &row, 10 * SECOND, 100 * SECOND).await;
    world.cut_off_primary();
    tokio::time::sleep(2 * BUDGET).await;
    let err = read(&node, &policy, &row).await.expect_err("unproven");
    assert!(matches!(err, ReadError::Unproven { .. }), "{err}");
}

#[tokio::test(start_paused = true)]
async fn absence_has_fixed_ttl() {
    let world = World::new().await;
    let node = world.node().await;
    let policy = policy(session(Unproven::Fail));
    let row = Row::new(MS, |_| Ok(absent()));
    read(&node, &policy, &row).await.expect("an answer");
    let loads = used(&node, &policy, &row, 10 * SECOND, 300 * SECOND).await;
    assert!((9..=11).contains(&loads), "the TTL is half a minute: {loads} loads");
}

#[tokio::test(start_paused = true)]
async fn sliding_entry_refreshed_at_limit_only() {
    let world = World::new().await;
    let node = world.node().await;
    let eager = Refresh { beta: 1.0, jitter: 0.1 };
    let base = || Rules { refresh: eager, ttl: 10 * SECOND, ..session(Unproven::Fail) };
    let policy = policy(base());
    let row = Row::returning(200 * MS, "value");
    read(&node, &policy, &row).await.expect("an answer");
    assert_eq!(used(&node, &policy, &row, 10 * MS, 60 * SECOND).await, 0);
    // Where the end is fixed, it is refreshed before it, and no reader waits.
    let limited = Rules { sliding: Some(Touch::within(30 * SECOND)), ..base() };
    let (limited, row) = (self::policy(limited), Row::returning(200 * MS, "value"));
    world.commit(vec![Subject::Key(key(1))]).await;
    read(&node, &limited, &row).await.expect("an answer");
    for _ in 0..9_000 {
        tokio::time::sleep(10 * MS).await;
        assert_eq!(served(&node, &limited, &row).await.1, Tier::Local, "no reader waits");
    }
    let loads = row.calls();
    assert!((3..=6).contains(&loads), "about one load in thirty seconds, not {loads}");
}

#[tokio::test(start_paused = true)]
async fn sliding_entry_survives_collection() {
    let world = World::new().await;
    let node = world.node().await;
    let policy = policy(Rules { tiers: Tiers::SHARED, ..session(Unproven::Fail) });
    let row = Row::returning(MS, "value");
    read(&node, &policy, &row).await.expect("an answer");
    for _ in 0..10 {
        world.commit(vec![Subject::Key(key(2))]).await;
        assert_eq!(used(&node, &policy, &row, 10 * SECOND, 20 * SECOND).await, 0);
        world.shared.collect(Lsn(u64::MAX)).await.unwrap();
    }
    assert_eq!(served(&node, &policy, &row).await, is("value", Tier::Shared));
}

#[tokio::test(start_paused = true)]
async fn inspect_is_no_use() {
    let world = World::new().await;
    let node = world.node().await;
    let policy = policy(session(Unproven::Fail));
    let row = Row::returning(MS, "value");
    read(&node, &policy, &row).await.expect("an answer");
    for _ in 0..7 {
        tokio::time::sleep(10 * SECOND).await;
        node.inspect(&key(1), &policy).await.expect("the tiers answer");
    }
    assert_eq!(served(&node, &policy, &row).await.1, Tier::Origin);
}
