//! Wildcard invalidations.

use super::*;

fn prices() -> Vec<Subject> {
    vec!["k*:v1:catalog:price:*".parse().unwrap()]
}

fn products() -> Vec<Subject> {
    vec!["t*:product-*".parse().unwrap()]
}

/// A purge request of an operator.
fn purge(world: &World, subjects: Vec<Subject>) -> Batch {
    let mut batch = world.commit_unapplied(subjects);
    batch.events[0].cause = Cause::Purge;
    batch
}

async fn carry_out(world: &World, subjects: Vec<Subject>) {
    world.shared.apply(&purge(world, subjects)).await.unwrap().unwrap();
    settle().await;
}

#[tokio::test(start_paused = true)]
async fn wildcard_invalidates_on_all_nodes() {
    for subjects in [prices(), products()] {
        let world = World::new().await;
        let (one, two) = (world.node().await, world.node().await);
        let policy = policy(rules(Unproven::ReadOrigin));
        let row = Row::returning(MS, "old");
        for node in [&one, &two] {
            read(node, &policy, &row).await.expect("an answer");
            assert_eq!(served(node, &policy, &row).await, is("old", Tier::Local));
        }
        row.update("new");
        carry_out(&world, vec!["k*:*:stock:*".parse().unwrap()]).await;
        assert_eq!(
            served(&one, &policy, &row).await,
            is("old", Tier::Local),
            "the wildcard does not match"
        );
        carry_out(&world, subjects).await;
        assert_eq!(served(&one, &policy, &row).await, is("new", Tier::Origin));
        assert_eq!(served(&two, &policy, &row).await, is("new", Tier::Shared));
    }
}

#[tokio::test(start_paused = true)]
async fn wildcard_rejects_fill_in_progress() {
    for subjects in [prices(), products()] {
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
        carry_out(&world, subjects).await;
        let answer = slow.await.unwrap().expect("an answer");
        assert_eq!(text(&answer), "old");
        assert!(matches!(answer.proof().stored, Some(Verdict::Refuse(_))), "but not stored");
        assert_eq!(served(&node, &policy, &row).await, is("new", Tier::Origin));
        assert_eq!(served(&node, &policy, &row).await, is("new", Tier::Local));
    }
}

#[tokio::test(start_paused = true)]
async fn race_11_wildcard_ahead_of_shared_tier() {
    for subjects in [prices(), products()] {
        let world = World::new().await;
        let node = world.node().await;
        let policy = policy(rules(Unproven::ReadOrigin));
        let row = Row::returning(MS, "old");
        read(&node, &policy, &row).await.expect("an answer");
        row.update("new");
        let batch = purge(&world, subjects);
        node.applied(&batch);
        assert_eq!(served(&node, &policy, &row).await, is("new", Tier::Origin));
        assert_eq!(node.status().entries, 0, "read before the request was known to be visible");
        world.shared.apply(&batch).await.unwrap().unwrap();
        assert_eq!(served(&node, &policy, &row).await, is("new", Tier::Origin));
        assert_eq!(served(&node, &policy, &row).await, is("new", Tier::Local));
    }
}

#[tokio::test(start_paused = true)]
async fn wildcard_removes_soft_stale() {
    for subjects in [prices(), products()] {
        let world = World::new().await;
        let node = world.node_governed(true).await;
        let policy = policy(rules(Unproven::ReadOrigin));
        let row = Row::returning(MS, "old");
        read(&node, &policy, &row).await.expect("an answer");
        world.commit(vec![Subject::Key(key(1))]).await;
        assert_eq!((node.status().entries, node.status().soft_stale), (1, 1));
        carry_out(&world, subjects).await;
        assert_eq!((node.status().entries, node.status().soft_stale), (0, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn survey_counts_without_removing() {
    let world = World::new().await;
    let (one, two) = (world.node().await, world.node().await);
    let policy = policy(rules(Unproven::ReadOrigin));
    let row = Row::returning(MS, "a price");
    read(&one, &policy, &row).await.expect("an answer");
    for subjects in [prices(), products(), vec![Subject::Everything]] {
        let (local, shared) = one.survey(&subjects).await.unwrap();
        assert_eq!((local.total(), shared.total()), (1, 1));
        assert!(shared.examples.contains(&key(1)));
        assert_eq!(two.survey(&subjects).await.unwrap().0.total(), 0);
    }
    let (local, shared) = one.survey(&["k*:*:stock:*".parse().unwrap()]).await.unwrap();
    assert_eq!((local.total(), shared.total()), (0, 0));
    assert_eq!(served(&one, &policy, &row).await, is("a price", Tier::Local));
    world.shared.down.store(true, Ordering::Relaxed);
    assert!(one.survey(&prices()).await.is_err(), "a partial count is an error");
}
