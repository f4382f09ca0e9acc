//! The known races of `docs/coherence.md` in the read path.

use super::*;

fn row_1() -> Vec<Subject> {
    vec![Subject::Key(key(1))]
}

#[tokio::test(start_paused = true)]
async fn race_01_overtaken_fill_rejected() {
    let world = World::new().await;
    let node = world.node().await;
    let policy = policy(rules(Unproven::ReadOrigin));
    let row = Row::returning(100 * MS, "old");
    let slow = tokio::spawn({
        let (node, policy, row) = (node.clone(), Arc::clone(&policy), Arc::clone(&row));
        async move { read(&node, &policy, &row).await }
    });
    tokio::time::sleep(50 * MS).await;
    row.update("new");
    world.commit(row_1()).await;
    let answer = slow.await.unwrap().expect("an answer");
    assert!(matches!(answer.proof().stored, Some(Verdict::Refuse(_))), "but not stored");
    assert_eq!(served(&node, &policy, &row).await, is("new", Tier::Origin));
    assert_eq!(served(&node, &policy, &row).await, is("new", Tier::Local));
}

#[tokio::test(start_paused = true)]
async fn race_02_early_application_delete() {
    let world = World::new().await;
    let (one, two) = (world.node().await, world.node().await);
    let policy = policy(rules(Unproven::ReadOrigin));
    let row = Row::returning(MS, "old");
    assert_eq!(served(&one, &policy, &row).await.0, "old");
    // The application's own invalidation, while its transaction is open.
    world.commit(row_1()).await;
    assert_eq!(
        served(&one, &policy, &row).await,
        is("old", Tier::Origin),
        "the transaction is still open"
    );
    assert_eq!(served(&two, &policy, &row).await, is("old", Tier::Shared));
    row.update("new");
    world.commit(row_1()).await;
    assert_eq!(served(&one, &policy, &row).await, is("new", Tier::Origin));
    assert_eq!(served(&two, &policy, &row).await, is("new", Tier::Shared));
}

#[tokio::test(start_paused = true)]
async fn race_03_silent_writer_noticed() {
    let world = World::new().await;
    let (one, two) = (world.node().await, world.node().await);
    let policy = policy(rules(Unproven::ReadOrigin));
    let row = Row::returning(MS, "old");
    for node in [&one, &two] {
        assert_eq!(served(node, &policy, &row).await.0, "old");
        assert_eq!(served(node, &policy, &row).await, is("old", Tier::Local));
    }
    row.update("new");
    world.commit(row_1()).await;
    assert_eq!(served(&one, &policy, &row).await, is("new", Tier::Origin));
    assert_eq!(served(&two, &policy, &row).await, is("new", Tier::Shared));
}

#[tokio::test(start_paused = true)]
async fn race_07_version_is_from_before_load() {
    let world = World::new().await;
    let node = world.node().await;
    let policy = policy(rules(Unproven::ReadOrigin));
    let row = Row::returning(100 * MS, "old");
    let slow = tokio::spawn({
        let (node, policy, row) = (node.clone(), Arc::clone(&policy), Arc::clone(&row));
        async move { read(&node, &policy, &row).await }
    });
    tokio::time::sleep(50 * MS).await;
    world.commit(vec![Subject::Key(key(2))]).await;
    let answer = slow.await.unwrap().expect("an answer");
    assert_eq!(answer.proof().version, Lsn(10), "the version is the one from before the load");
    assert_eq!(answer.proof().stored, Some(Verdict::Accept), "the commit was for another key");
}

#[tokio::test(start_paused = true)]
async fn race_10_gap_resets_local_tier() {
    let world = World::new().await;
    let node = world.node().await;
    let policy = policy(rules(Unproven::ReadOrigin));
    let row = Row::returning(MS, "old");
    read(&node, &policy, &row).await.expect("an answer");
    node.tiers().local.reset();
    assert_eq!(node.status().entries, 0);
    assert_eq!(node.status().bound, None, "and proves nothing");
    row.update("new");
    world.commit(row_1()).await;
    assert!(node.status().bound.is_some(), "the next message starts a new epoch here");
    assert_eq!(served(&node, &policy, &row).await, is("new", Tier::Origin));
}

#[tokio::test(start_paused = true)]
async fn race_11_lagging_shared_entry_rejected() {
    for governor in [false, true] {
        let world = World::new().await;
        let node = world.node_governed(governor).await;
        let policy = policy(rules(Unproven::ReadOrigin));
        let row = Row::returning(MS, "old");
        read(&node, &policy, &row).await.expect("an answer");
        row.update("new");
        let batch = world.commit_unapplied(row_1());
        node.applied(&batch);
        let answer = served(&node, &policy, &row).await;
        let why = "though the shared tier's copy is within its budget";
        assert_eq!(answer, is("new", Tier::Origin), "{why}");
        let why = "read before the event could be known to be visible";
        assert!(node.peek(&key(1), &policy).is_none(), "{why}");
        assert_eq!(node.status().entries, usize::from(governor), "kept as soft-stale, or removed");
        world.shared.apply(&batch).await.unwrap().unwrap();
        assert_eq!(served(&node, &policy, &row).await, is("new", Tier::Origin));
    }
}

/// The shared tier has gone back to before a purge request, and the node has lost its own tombstones with
/// the node stream; its contract says `serve-stale`.
#[tokio::test(start_paused = true)]
async fn race_21_rolled_back_tier_not_served_stale() {
    let world = World::new().await;
    let node = world.node().await;
    let policy = policy(rules(Unproven::ServeStale));
    let row = Row::returning(MS, "old");
    read(&node, &policy, &row).await.expect("an answer");
    node.tiers().local.reset();
    let stale = read(&node, &policy, &row).await.expect("an answer").proof().stale;
    assert_eq!(stale, Some(Stale::Unproven), "an entry that no request removed is served");
    world.commit(vec![Subject::Key(key(2))]).await;
    let purge = world.commit_unapplied(row_1());
    node.applied(&purge);
    node.tiers().local.reset();
    row.update("new");
    assert_eq!(served(&node, &policy, &row).await, is("new", Tier::Origin));
}

#[tokio::test(start_paused = true)]
async fn race_12_late_reply_not_stored() {
    for governor in [false, true] {
        let world = World::new().await;
        let one = world.node_governed(governor).await;
        let two = world.node_governed(governor).await;
        let policy = policy(rules(Unproven::ReadOrigin));
        let row = Row::returning(MS, "old");
        read(&one, &policy, &row).await.expect("an answer");
        *world.shared.late_reads.lock() = 30 * MS;
        let late = tokio::spawn({
            let (two, policy, row) = (two.clone(), Arc::clone(&policy), Arc::clone(&row));
            async move { read(&two, &policy, &row).await }
        });
        tokio::time::sleep(10 * MS).await;
        row.update("new");
        world.commit(row_1()).await;
        late.await.unwrap().expect("an answer");
        *world.shared.late_reads.lock() = Duration::ZERO;
        assert!(two.peek(&key(1), &policy).is_none(), "the late reply was not stored");
        assert!(governor || two.status().entries == 0);
        assert_eq!(served(&two, &policy, &row).await.0, "new");
    }
}

#[tokio::test(start_paused = true)]
async fn race_13_insert_invalidates_absence() {
    let world = World::new().await;
    let node = world.node().await;
    let policy = policy(rules(Unproven::ReadOrigin));
    let row = Row::new(MS, |_| Ok(absent()));
    assert_eq!(served(&node, &policy, &row).await, is("absent", Tier::Origin));
    assert_eq!(served(&node, &policy, &row).await, is("absent", Tier::Local));
    assert_eq!(row.calls(), 1);
    row.update("inserted");
    world.commit(row_1()).await;
    assert_eq!(served(&node, &policy, &row).await, is("inserted", Tier::Origin));
}

#[tokio::test(start_paused = true)]
async fn race_14_truncate_invalidates_everything() {
    let world = World::new().await;
    let node = world.node().await;
    let policy = policy(rules(Unproven::ReadOrigin));
    let row = Row::returning(MS, "old");
    read(&node, &policy, &row).await.expect("an answer");
    row.set(|_| Ok(absent()));
    world.commit(vec![Subject::Everything]).await;
    assert_eq!(served(&node, &policy, &row).await, is("absent", Tier::Origin));
}

#[tokio::test(start_paused = true)]
async fn race_18_fill_of_old_epoch_rejected() {
    let world = World::new().await;
    let node = world.node().await;
    let policy = policy(rules(Unproven::ReadOrigin));
    let row = Row::returning(100 * MS, "before the failover");
    let slow = tokio::spawn({
        let (node, policy, row) = (node.clone(), Arc::clone(&policy), Arc::clone(&row));
        async move { read(&node, &policy, &row).await }
    });
    tokio::time::sleep(50 * MS).await;
    *world.epoch.lock() = OTHER;
    world.shared.reset_epoch(OTHER, Lsn(10), Lsn(10)).await.unwrap();
    settle().await;
    row.update("after the failover");
    let answer = slow.await.unwrap().expect("an answer");
    assert!(matches!(answer.proof().stored, Some(Verdict::Refuse(_))));
    assert_eq!(node.status().epoch, Some(OTHER));
    assert_eq!(served(&node, &policy, &row).await, is("after the failover", Tier::Origin));
}

#[tokio::test(start_paused = true)]
async fn race_19_tag_invalidates_page() {
    for governor in [false, true] {
        let world = World::new().await;
        let one = world.node_governed(governor).await;
        let two = world.node_governed(governor).await;
        let policy = policy(rules(Unproven::ReadOrigin));
        let page = Row::returning(MS, "old page");
        read(&one, &policy, &page).await.expect("an answer");
        read(&two, &policy, &page).await.expect("an answer");
        page.update("new page");
        world.commit(vec![Subject::Tag(tag("product-1"))]).await;
        for node in [&one, &two] {
            assert!(node.peek(&key(1), &policy).is_none());
            let status = node.status();
            assert_eq!(
                (status.entries as u64, status.soft_stale),
                if governor { (1, 1) } else { (0, 0) }
            );
        }
        assert_eq!(served(&two, &policy, &page).await, is("new page", Tier::Origin));
    }
}
