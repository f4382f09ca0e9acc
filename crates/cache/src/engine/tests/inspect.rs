//! Inspection and the events for observers.

use super::*;
use crate::engine::observer::{EngineEvent, EngineObserver, FillRecord, InvalidationRecord};

#[derive(Default)]
struct EventLog(Mutex<Vec<EngineEvent>>);

impl EngineObserver for EventLog {
    fn observe(&self, event: EngineEvent) {
        self.0.lock().push(event);
    }
}

#[tokio::test(start_paused = true)]
async fn inspect_has_no_side_effects() {
    let world = World::new().await;
    let (one, two) = (world.node().await, world.node().await);
    let policy = policy(rules(Unproven::ReadOrigin));
    let row = Row::returning(10 * MS, "old");
    assert!(two.inspect(&key(1), &policy).await.expect("an inspection").is_empty());
    read(&one, &policy, &row).await.expect("an answer");
    assert_eq!(row.calls(), 1, "the inspection took no lease");

    let tiers = |found: Vec<TierEntry>| {
        found.iter().map(|entry| (entry.tier, entry.served_as)).collect::<Vec<_>>()
    };
    let fresh = ServedAs::Fresh;
    let seen = one.inspect(&key(1), &policy).await.expect("an inspection");
    assert_eq!(tiers(seen), [(Tier::Local, fresh), (Tier::Shared, fresh)]);
    for _ in 0..2 {
        let seen = two.inspect(&key(1), &policy).await.expect("an inspection");
        assert_eq!(seen[0].entry.tau, Lsn(10));
        assert!(seen[0].bound.is_some_and(|bound| bound <= BUDGET), "{seen:?}");
        assert_eq!(tiers(seen), [(Tier::Shared, fresh)], "it was not copied");
    }
    let embedded = world.shared.tier.inspect(&key(1)).await.expect("an inspection");
    assert!(matches!(embedded.outcome, crate::shared::Outcome::Found { .. }), "{embedded:?}");

    world.cut_off_primary();
    tokio::time::sleep(3 * BUDGET).await;
    let seen = one.inspect(&key(1), &policy).await.expect("an inspection");
    let no = ServedAs::NotServed;
    assert_eq!(
        tiers(seen),
        [(Tier::Local, no), (Tier::Shared, no)],
        "unproven: the origin is read"
    );

    world.shared.down.store(true, Ordering::Relaxed);
    one.inspect(&key(1), &policy).await.expect_err("a partial inspection is an error");
}

#[tokio::test(start_paused = true)]
async fn observer_receives_loads_fills_and_events() {
    let world = World::new().await;
    let node = world.node().await;
    let log = Arc::new(EventLog::default());
    node.set_observer(Arc::clone(&log) as _);
    let policy = policy(rules(Unproven::ReadOrigin));
    let row = Row::returning(10 * MS, "old");
    read(&node, &policy, &row).await.expect("an answer");
    world.commit(vec![Subject::Tag(tag("product-1"))]).await;
    let reader = (node.clone(), Arc::clone(&policy), Arc::clone(&row));
    let reading = tokio::spawn(async move { read(&reader.0, &reader.1, &reader.2).await });
    settle().await;
    world.commit(vec![Subject::Key(key(1))]).await;
    reading.await.expect("it ends").expect("an answer");

    let events = log.0.lock();
    let described: Vec<String> = events
        .iter()
        .map(|event| match event {
            EngineEvent::Load(target) => format!("load {}", target.id),
            EngineEvent::Fill(FillRecord { tier, tau, verdict, .. }) => {
                format!("{} {} {}", tier.as_str(), tau.0, *verdict == Verdict::Accept)
            }
            EngineEvent::Invalidation(InvalidationRecord { lsn, invalidated, loading, .. }) => {
                let (invalidated, loading) = (invalidated.len(), loading.len());
                format!("event {} invalidated {invalidated} loading {loading}", lsn.0)
            }
            EngineEvent::Answer(_) => "answer".into(),
        })
        .collect();
    assert_eq!(
        described,
        [
            "load 1",
            "shared 10 true",
            "local 10 true",
            "event 11 invalidated 1 loading 0",
            "load 1",
            "event 12 invalidated 0 loading 1",
            "shared 11 false",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn unproven_peek_skips_the_proof() {
    let world = World::new().await;
    let node = world.node().await;
    let policy = policy(rules(Unproven::ReadOrigin));
    assert!(node.peek_unproven(&key(1), &policy).is_none(), "no entry");
    read(&node, &policy, &Row::returning(10 * MS, "old")).await.expect("an answer");
    assert!(node.peek(&key(1), &policy).is_some());
    assert!(node.peek_unproven(&key(1), &policy).is_some());
    world.cut_off_primary();
    tokio::time::sleep(3 * BUDGET).await;
    assert!(node.peek(&key(1), &policy).is_none(), "nothing is proven now");
    assert!(node.peek_unproven(&key(1), &policy).is_some(), "and that is not checked");
}
