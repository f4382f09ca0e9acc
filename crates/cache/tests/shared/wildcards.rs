//! Wildcards: entries that match are removed, stored or being loaded, and no others.

use cache::shared::{Fill, NodeMessage};
use coherence::{Fence, Lsn, Refusal, Subject, Verdict};
use contract::Key;

use crate::rig::*;
use crate::suite::suite;

suite! {
    wildcard_removes_matches_only,
    wildcard_refuses_loads_in_flight,
    survey_removes_nothing,
    excess_wildcards_leave_floor,
    wildcard_eviction_raises_no_tombstone,
    large_tier_counted_in_pages;
    of one fence:
    collected_wildcard_leaves_floor,
}

fn like(text: &str) -> Vec<Subject> {
    vec![text.parse().expect("a subject")]
}

fn stock(n: u8) -> Key {
    Key::parse(&format!("v1:catalog:stock:{n}")).expect("a key")
}

async fn wildcard_removes_matches_only(rig: Rig) {
    let rig = rig.with_epoch().await;
    for key in [key(1), stock(1)] {
        rig.fill(tagged(&key, "old", 10, &[tag(1), tag(2)])).await;
    }
    rig.fill(tagged(&key(2), "old", 10, &[tag(3)])).await;
    rig.fill(fill(&key(3), "from a later read", 12)).await;
    rig.apply(batch(10, 11, like("k*:v1:catalog:price:*"))).await;
    assert!(rig.found(&key(1)).await.is_none() && rig.found(&key(2)).await.is_none());
    assert!(rig.found(&stock(1)).await.is_some() && rig.found(&key(3)).await.is_some());
    rig.apply(batch(11, 12, like("t*:*-2"))).await;
    assert!(rig.found(&stock(1)).await.is_none());
}

async fn wildcard_refuses_loads_in_flight(rig: Rig) {
    let rig = rig.with_epoch().await;
    rig.apply(batch(10, 11, like("t*:category-*"))).await;
    let late = tagged(&key(1), "old", 10, &[tag(1)]);
    assert_eq!(rig.fill(late.clone()).await, refused(Refusal::Tombstone));
    assert_eq!(rig.fill(fill(&key(1), "has no such tag", 10)).await, Verdict::Accept);
    let mut now = late;
    now.entry.tau = Lsn(11);
    assert_eq!(rig.fill(now).await, Verdict::Accept);
    // A replay leaves later entries unchanged.
    rig.apply(batch(10, 11, like("t*:category-*"))).await;
    assert!(rig.found(&key(1)).await.is_some());
}

async fn survey_removes_nothing(rig: Rig) {
    let survey = async |text: &str| rig.tier.survey(&like(text)).await.expect("a survey");
    assert_eq!(survey("*").await.total(), 0, "without an epoch no entry is valid");
    rig.tier.reset_epoch(EPOCH, Lsn(10), Lsn(10)).await.expect("reset");
    for n in 0..7 {
        rig.fill(tagged(&key(n), "price", 10, &[tag(n % 2)])).await;
        rig.fill(fill(&stock(n), "stock", 10)).await;
    }
    rig.apply(batch(10, 11, vec![Subject::Key(key(0)), Subject::Tag(tag(1))])).await;
    let prices = survey("k*:*:price:*").await;
    assert_eq!(prices.entries.into_iter().collect::<Vec<_>>(), [("v1:catalog:price".into(), 3)]);
    assert_eq!(prices.examples.into_iter().collect::<Vec<_>>(), [key(2), key(4), key(6)]);
    assert_eq!(survey("t*:category-*").await.total(), 3);
    assert_eq!(survey("t:category-0").await.total(), 3);
    assert_eq!(survey("k:v1:catalog:stock:3").await.total(), 1);
    let all = survey("*").await;
    assert_eq!((all.total(), all.examples.len(), all.cut), (10, 5, false));
    assert!(rig.found(&key(2)).await.is_some(), "it is still there");
}

async fn collected_wildcard_leaves_floor(rig: Rig) {
    let rig = rig.with_epoch().await;
    rig.apply(batch(10, 11, like("k*:*:price:*"))).await;
    rig.apply(batch(11, 12, like("k*:*:stock:*"))).await;
    assert_eq!(rig.tier.collect(Lsn(11)).await.expect("collect"), 1);
    assert_eq!(rig.fill(fill(&key(1), "old", 10)).await, refused(Refusal::Floor));
    assert_eq!(rig.fill(fill(&stock(1), "old", 11)).await, refused(Refusal::Tombstone));
    assert_eq!(rig.fill(fill(&key(1), "new", 11)).await, Verdict::Accept);
    assert_eq!(rig.tier.collect(Lsn(12)).await.expect("collect"), 1);
    assert_eq!(rig.tier.collect(Lsn(12)).await.expect("collect"), 0);
}

async fn excess_wildcards_leave_floor(rig: Rig) {
    let rig = rig.with_epoch().await;
    let most = Fence::PATTERNS_MAX as u64;
    rig.fill(fill(&key(1), "old", 10)).await;
    rig.fill(fill(&key(2), "newer", 11)).await;
    for n in 0..most {
        rig.apply(batch(10 + n, 11 + n, like(&format!("k*:v1:catalog:n{n}:*")))).await;
    }
    assert!(rig.found(&key(1)).await.is_some());
    // A replay of the last one does not count twice.
    let end = 10 + most;
    rig.apply(batch(end, end + 1, like(&format!("k*:v1:catalog:n{}:*", most - 1)))).await;
    assert!(rig.found(&key(1)).await.is_some());
    rig.apply(batch(end + 1, end + 2, like("k*:*:stock:*"))).await;
    assert!(rig.found(&key(1)).await.is_none(), "older than the dropped wildcard");
    assert!(rig.found(&key(2)).await.is_some());
    let invalidated = Key::parse("v1:catalog:n0:1").expect("a key");
    assert_eq!(rig.fill(fill(&invalidated, "old", 10)).await, refused(Refusal::Floor));
}

async fn wildcard_eviction_raises_no_tombstone(rig: Rig) {
    let rig = rig.with_epoch().await;
    for key in [key(1), key(2), stock(1)] {
        rig.fill(tagged(&key, "old", 10, &[tag(1)])).await;
    }
    let mut stream = rig.subscribed().await;
    rig.tier.evict(&like("k*:*:price:*")).await.expect("evict");
    assert!(rig.found(&key(1)).await.is_none() && rig.found(&key(2)).await.is_none());
    assert!(rig.found(&stock(1)).await.is_some());
    assert!(
        matches!(next(&mut stream).await, NodeMessage::Evict(evicted) if evicted == like("k*:*:price:*"))
    );
    assert_eq!(rig.fill(fill(&key(1), "again", 10)).await, Verdict::Accept);
    rig.tier.evict(&like("t*:category-*")).await.expect("evict");
    assert!(rig.found(&key(1)).await.is_some() && rig.found(&stock(1)).await.is_none());
}

async fn large_tier_counted_in_pages(rig: Rig) {
    let rig = rig.with_epoch().await;
    let most = 2_500;
    for n in 0..most {
        let key = Key::parse(&format!("v1:catalog:page:{n}")).expect("a key");
        let tags = [tag((n % 5) as u8)];
        rig.fill(Fill { key: key.clone(), ..tagged(&key, "a page", 10, &tags) }).await;
    }
    // An entry whose first line is longer than the part that is read first.
    let tags: Vec<_> = (0..100).map(|n| format!("{n}-{}", "x".repeat(200))).collect();
    let tags: Vec<_> = tags.iter().map(|tag| contract::Tag::parse(tag).expect("a tag")).collect();
    rig.fill(tagged(&key(1), "has many tags", 10, &tags)).await;
    let survey = async |text: &str| rig.tier.survey(&like(text)).await.expect("a survey").total();
    assert_eq!(survey("k*:*:page:*").await, most);
    assert_eq!(survey("t*:*-3").await, most / 5);
    assert_eq!(survey("t*:99-xx*").await, 1);
    assert_eq!(survey("*").await, most + 1);
}
