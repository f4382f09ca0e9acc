//! Race 16: two keys read in one atomic batch, one new, one old.

use coherence::Log;

use super::table::{Table, texts};
use super::*;

async fn together(node: &Engine, items: &[Item]) -> (Vec<String>, Tier) {
    let AtomicBatch { answers, by } = node.get_atomic(items, None).await.expect("an answer");
    (texts(&answers), by)
}

fn all(text: &str, by: Tier) -> (Vec<String>, Tier) {
    (vec![text.to_owned(); 2], by)
}

#[tokio::test(start_paused = true)]
async fn race_16_price_and_stock_from_one_snapshot() {
    for governor in [false, true] {
        let world = World::new().await;
        let node = world.node_governed(governor).await;
        let policy = policy(rules(Unproven::ReadOrigin));
        let table = Table::returning(&world, "old");
        let (price, stock) = (table.item(&policy, 1), table.item(&policy, 2));
        let both = [price.clone(), stock.clone()];
        node.get_many(std::slice::from_ref(&stock), None).await;

        // One transaction changes both, and its event is not applied yet. The price comes from the
        // database, the stock from the tier.
        let unapplied = table.commit(&world, &[1, 2], "new");
        let apart = texts(&node.get_many(&both, None).await);
        assert_eq!(apart, ["new", "old"], "each within its contract, from two snapshots");
        // Now both are stored in both tiers, by the rules of the fence.
        let apart = texts(&node.get_many(&both, None).await);
        assert_eq!(apart, ["new", "old"]);
        assert_eq!(table.calls(), (2, 0));

        assert_eq!(together(&node, &both).await, all("new", Tier::Origin));
        assert_eq!(table.calls(), (2, 1), "from one snapshot");
        world.shared.apply(&unapplied).await.unwrap().unwrap();
        settle().await;
        // The entries that were read before W had passed the commit are invalidated.
        assert_eq!(together(&node, &both).await, all("new", Tier::Origin));
        assert_eq!(together(&node, &both).await, all("new", Tier::Local));
        assert_eq!(table.calls(), (2, 2));
    }
}

#[tokio::test(start_paused = true)]
async fn race_16_load_ahead_of_tier_excluded() {
    let world = World::new().await;
    let node = world.node().await;
    let policy = policy(rules(Unproven::ReadOrigin));
    let table = Table::returning(&world, "value");
    let both = table.items(&policy, &[1, 2]);
    // For another key; but that is not known before its event is applied.
    let unapplied = table.commit(&world, &[3], "else");
    node.get_many(&both, None).await;
    assert_eq!(together(&node, &both).await, all("value", Tier::Origin));
    world.shared.apply(&unapplied).await.unwrap().unwrap();
    settle().await;
    assert_eq!(together(&node, &both).await, all("value", Tier::Local));
    assert_eq!(table.calls(), (0, 2));
}

/// The database has failed over, and the tiers still have the old epoch: loads now return positions of
/// another log.
#[tokio::test(start_paused = true)]
async fn race_16_two_logs_form_no_snapshot() {
    let world = World::new().await;
    let (one, two) = (world.node().await, world.node().await);
    let policy = policy(rules(Unproven::ServeStale));
    let table = Table::returning(&world, "value");
    let both = table.items(&policy, &[1, 2]);
    one.get_many(&both, None).await;
    assert_eq!(together(&one, &both).await, all("value", Tier::Local));
    world.primary_answers.store(false, Ordering::Relaxed);
    let log = Log { timeline: EPOCH.timeline + 1, ..EPOCH.log() };
    for node in [&one, &two] {
        node.sample(log, world.clock.mono(), Lsn(1));
        assert_eq!(together(node, &both).await.1, Tier::Origin, "although the tiers have entries");
    }
    assert_eq!(one.get_many(&both, None).await.len(), 2, "single reads are still served");
}

#[tokio::test(start_paused = true)]
async fn tiers_answer_atomic_batch() {
    let world = World::new().await;
    let (one, two) = (world.node().await, world.node().await);
    let policy = policy(rules(Unproven::ReadOrigin));
    let table = Table::returning(&world, "value");
    let both = table.items(&policy, &[1, 2]);
    one.get_many(&both, None).await;
    assert_eq!(together(&one, &both).await, all("value", Tier::Local));
    two.get_many(&both[..1], None).await;
    world.shared.batch_reads.store(0, Ordering::Relaxed);
    assert_eq!(together(&two, &both).await, all("value", Tier::Shared), "one of each tier");
    assert_eq!(world.shared.batch_reads.load(Ordering::Relaxed), 1);
    assert_eq!(together(&two, &both).await, all("value", Tier::Local));
    assert_eq!(table.calls(), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn same_set_loaded_from_one_snapshot() {
    let world = World::new().await;
    let node = world.node().await;
    let policy = policy(rules(Unproven::ReadOrigin));
    let table = Table::returning(&world, "value");
    let crowd = (0..100).map(|i| {
        // The order of the keys does not matter.
        let ids = if i % 2 == 0 { [1, 2] } else { [2, 1] };
        let (node, items) = (node.clone(), table.items(&policy, &ids));
        tokio::spawn(async move { together(&node, &items).await })
    });
    for reader in crowd.collect::<Vec<_>>() {
        assert_eq!(reader.await.expect("no panic"), all("value", Tier::Origin));
    }
    assert_eq!(table.calls(), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn atomic_batch_excludes_soft_stale() {
    let world = World::new().await;
    let node = world.node_governed(true).await;
    let policy = policy(rules(Unproven::ReadOrigin));
    let table = Table::returning(&world, "old");
    let both = table.items(&policy, &[1, 2]);
    node.get_many(&both, None).await;
    let batch = table.commit(&world, &[1], "new");
    world.shared.apply(&batch).await.unwrap().unwrap();
    settle().await;
    assert_eq!(node.status().entries, 2, "the old price is kept as soft-stale");
    let (texts, by) = together(&node, &both).await;
    assert_eq!((texts[0].as_str(), texts[1].as_str(), by), ("new", "old", Tier::Origin));
}

#[tokio::test(start_paused = true)]
async fn atomic_batch_keeps_each_contract() {
    let world = World::new().await;
    let node = world.node().await;
    let table = Table::returning(&world, "old");
    for (unproven, expected) in [
        (Unproven::ReadOrigin, Some((Tier::Origin, None, "new"))),
        (Unproven::ServeStale, Some((Tier::Local, Some(Stale::Unproven), "old"))),
        (Unproven::Fail, None),
    ] {
        world.primary_answers.store(true, Ordering::Relaxed);
        tokio::time::sleep(300 * MS).await;
        world.heartbeat().await;
        settle().await;
        let policy = policy(rules(unproven));
        let both = table.items(&policy, &[1, 2]);
        node.get_many(&both, None).await;
        assert_eq!(together(&node, &both).await, all("old", Tier::Local));
        world.cut_off_primary();
        tokio::time::sleep(BUDGET * 2).await;
        let changed = table.commit(&world, &[1, 2], "new");
        let got = node.get_atomic(&both, None).await;
        match (expected, got) {
            (Some((by, stale, text)), Ok(got)) => {
                assert_eq!((texts(&got.answers), got.by), all(text, by));
                assert_eq!(got.answers[0].as_ref().unwrap().proof().stale, stale);
            }
            (None, Err(ReadError::Unproven { .. })) => {}
            (_, got) => panic!("{unproven:?}: {got:?}"),
        }
        let back = table.commit(&world, &[1, 2], "old");
        for batch in [changed, back] {
            world.shared.apply(&batch).await.unwrap().unwrap();
        }
        settle().await;
    }
}

#[tokio::test(start_paused = true)]
async fn no_common_snapshot_rejected() {
    let world = World::new().await;
    let node = world.node().await;
    let policy = policy(rules(Unproven::ReadOrigin));
    let row = Row::returning(MS, "value");
    let item = |id: u32| Item {
        key: key(id),
        id: id.to_string().into(),
        policy: Arc::clone(&policy),
        origin: Arc::clone(&row) as Arc<dyn Origin>,
    };
    let got = node.get_atomic(&[item(1), item(2)], None).await;
    assert!(matches!(got, Err(ReadError::NoCommonSnapshot)), "{got:?}");
    let one = node.get_atomic(&[item(3)], None).await.expect("one item is a snapshot");
    assert_eq!(texts(&one.answers), ["value"]);
    // It does not report positions, so two of its entries form no snapshot in a tier either.
    let got = node.get_atomic(&[item(1), item(2)], None).await;
    assert!(matches!(got, Err(ReadError::NoCommonSnapshot)), "{got:?}");
}

#[tokio::test(start_paused = true)]
async fn writer_skips_set_load_from_before_write() {
    let world = World::new().await;
    let node = world.node().await;
    let policy = policy(rules(Unproven::ReadOrigin));
    let table = Table::returning(&world, "old");
    let both = table.items(&policy, &[1, 2]);
    let early = tokio::spawn({
        let (node, both) = (node.clone(), both.clone());
        async move { together(&node, &both).await }
    });
    tokio::time::sleep(5 * MS).await;
    let unapplied = table.commit(&world, &[1, 2], "new");
    let token = CausalToken::new(Some(unapplied.epoch.log()), unapplied.upto);
    let own = node.get_atomic(&both, Some(token)).await.expect("an answer");
    assert_eq!(texts(&own.answers), ["new", "new"]);
    assert_eq!(early.await.unwrap(), all("old", Tier::Origin), "it read before the write");
}
