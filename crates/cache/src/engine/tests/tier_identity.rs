//! A shared tier that follows another log than the node samples, or a leader with other contracts.

use coherence::{Claim, Coverage, History, Log};

use super::*;
use crate::local::LocalStatus;
use crate::shared::Outcome;

const MAPPING: u64 = 7;

/// A policy whose entries depend on the mapping.
fn mapped() -> Arc<Policy> {
    policy(Rules { mappings: Mappings::All([MAPPING].into()), ..rules(Unproven::ReadOrigin) })
}

async fn node_with_contracts(world: &World, mappings: &[u64]) -> Engine {
    let coverage = Coverage::of(mappings.iter().copied());
    let options = EngineOptions { coverage, ..EngineOptions::default() };
    world.node_with(options, Arc::clone(&world.shared) as _).await
}

impl World {
    /// The leader states its mappings in place of those before.
    async fn state(&self, before: &[u64], after: &[u64]) {
        let of = |mappings: &[u64]| Coverage::of(mappings.iter().copied());
        let claim = Claim { node: 1, log: EPOCH.log(), slot: 1, label: "the shop".into() };
        let (from, coverage) = (of(before).digest(), of(after));
        *self.coverage.lock() = coverage.digest();
        let request =
            LeadRequest { claim, history: History::default(), from, coverage, upto: None };
        assert_eq!(self.shared.lead(&request).await.unwrap(), Led::Granted);
        settle().await;
    }
}

fn is_empty(status: &LocalStatus) -> bool {
    status.entries == 0
}

#[tokio::test(start_paused = true)]
async fn tier_of_other_log_not_used() {
    let world = World::new().await;
    let (node, policy) = (world.node().await, policy(rules(Unproven::ReadOrigin)));
    let row = Row::returning(10 * MS, "own");
    assert_eq!(served(&node, &policy, &row).await, is("own", Tier::Origin));
    assert_eq!(served(&node, &policy, &row).await, is("own", Tier::Local));
    // Another database takes the tier and fills it.
    let other = Epoch { system: 2, ..EPOCH };
    *world.epoch.lock() = other;
    world.shared.reset_epoch(other, Lsn(10), Lsn(10)).await.unwrap();
    settle().await;
    let foreign = Entry {
        tau: Lsn(10),
        content: present("foreign").content,
        tags: Arc::default(),
        loaded_wall_ms: world.clock.wall_ms(),
        changes_at: None,
        cost_us: 1_000,
        ttl: Duration::from_secs(60),
        seen: Lsn(10),
        definition: 0,
    };
    let fill = Fill { key: key(1), entry: foreign, epoch: other, lease: None };
    assert_eq!(world.shared.fill(&fill).await.unwrap(), Verdict::Accept);
    assert_eq!(node.is_of_sampled_log(), Some(false));
    row.update("newer");
    for _ in 0..3 {
        assert_eq!(served(&node, &policy, &row).await, is("newer", Tier::Origin));
    }
    assert!(is_empty(&node.status()));
    match world.shared.read(&key(1), None).await.unwrap().outcome {
        Outcome::Found { entry, .. } => assert_eq!(entry, fill.entry, "nothing else was stored"),
        other => panic!("{other:?}"),
    }
}

/// A copy of the database's files has its identity; its server has another start.
#[tokio::test(start_paused = true)]
async fn tier_of_other_start_not_used() {
    let world = World::new().await;
    let (node, policy) = (world.node().await, policy(rules(Unproven::ReadOrigin)));
    let row = Row::returning(10 * MS, "own");
    served(&node, &policy, &row).await;
    let copy = Epoch { server: EPOCH.server + (1 << 32), ..EPOCH };
    world.shared.reset_epoch(copy, Lsn(10), Lsn(10)).await.unwrap();
    settle().await;
    assert_eq!(node.is_of_sampled_log(), Some(false));
    for _ in 0..2 {
        assert_eq!(served(&node, &policy, &row).await, is("own", Tier::Origin));
    }
}

#[tokio::test(start_paused = true)]
async fn load_from_other_log_not_stored() {
    let world = World::new().await;
    let (node, policy) = (world.node().await, policy(rules(Unproven::ReadOrigin)));
    let log = Some(Log { timeline: 2, ..EPOCH.log() }.into());
    let row = Row::new(MS, move |_| Ok(Loaded { log, ..present("of the old primary") }));
    for _ in 0..2 {
        let expected = is("of the old primary", Tier::Origin);
        assert_eq!(served(&node, &policy, &row).await, expected);
    }
    assert!(is_empty(&node.status()));
}

#[tokio::test(start_paused = true)]
async fn uncovered_contract_always_loaded() {
    let world = World::new().await;
    world.state(&[], &[1]).await;
    let node = node_with_contracts(&world, &[1, MAPPING]).await;
    assert!(!node.is_covered());
    let (covered, uncovered) = (policy(rules(Unproven::ReadOrigin)), mapped());
    let row = Row::returning(10 * MS, "row");
    for _ in 0..3 {
        assert_eq!(served(&node, &uncovered, &row).await, is("row", Tier::Origin));
    }
    assert!(is_empty(&node.status()));
    assert_eq!(served(&node, &covered, &row).await, is("row", Tier::Origin));
    assert_eq!(served(&node, &covered, &row).await, is("row", Tier::Local));
}

#[tokio::test(start_paused = true)]
async fn coverage_lost_drops_entries() {
    let world = World::new().await;
    world.state(&[], &[1, MAPPING]).await;
    let (node, policy) = (node_with_contracts(&world, &[1, MAPPING]).await, mapped());
    let row = Row::returning(10 * MS, "row");
    served(&node, &policy, &row).await;
    assert_eq!(served(&node, &policy, &row).await, is("row", Tier::Local));
    world.state(&[1, MAPPING], &[1]).await;
    assert!(is_empty(&node.status()));
    row.update("unmapped");
    for _ in 0..2 {
        assert_eq!(served(&node, &policy, &row).await, is("unmapped", Tier::Origin));
    }
    // A node that leads with this contract again states it after it has invalidated what was stored before.
    world.commit(vec!["k*:v1:catalog:price:*".parse().unwrap()]).await;
    world.state(&[1], &[1, MAPPING]).await;
    assert_eq!(served(&node, &policy, &row).await, is("unmapped", Tier::Origin));
    assert_eq!(served(&node, &policy, &row).await, is("unmapped", Tier::Local));
}

#[tokio::test(start_paused = true)]
async fn entry_of_other_definition_not_served() {
    let world = World::new().await;
    let (old, new) = (world.node().await, world.node().await);
    let of = |definition| policy(Rules { definition, ..rules(Unproven::ReadOrigin) });
    let (older, newer) = (of(1), of(2));
    let (old_row, new_row) = (Row::returning(MS, "old form"), Row::returning(MS, "new form"));
    assert_eq!(served(&old, &older, &old_row).await, is("old form", Tier::Origin));
    assert_eq!(served(&new, &newer, &new_row).await, is("new form", Tier::Origin));
    assert_eq!(served(&new, &newer, &new_row).await, is("new form", Tier::Local));
    let inspected = old.inspect(&key(1), &older).await.unwrap();
    let shared = inspected.iter().find(|found| found.tier == Tier::Shared).expect("an entry");
    assert_eq!(shared.served_as, ServedAs::NotServed);
}
