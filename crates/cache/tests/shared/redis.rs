//! Faults that only a real server has.

mod access;
mod cluster;
mod faults;
mod malformed;
mod sentinel;
mod versions;

use std::sync::Arc;

use cache::shared::{RedisMetrics, RedisOptions, RedisTier, SharedTier, TierError};
use coherence::{Lsn, Subject, Verdict};

use crate::rig::*;

/// A tier at position 10 and its server.
struct Lab {
    server: harness::Redis,
    tier: Arc<RedisTier>,
    metrics: RedisMetrics,
}

impl Lab {
    async fn new() -> Self {
        let server = harness::Redis::start().expect("a Redis server");
        let metrics = RedisMetrics::default();
        let options = RedisOptions { metrics: metrics.clone(), ..options_for(&server) };
        let tier = Arc::new(RedisTier::connect(options).await.expect("a tier"));
        let lab = Self { server, tier, metrics };
        lab.begin().await;
        lab
    }

    async fn begin(&self) {
        self.tier.reset_epoch(EPOCH, Lsn(10), Lsn(10)).await.expect("reset");
    }

    fn cli(&self, words: &[&str]) -> String {
        self.server.cli(words).expect("redis-cli")
    }

    async fn fill(&self, n: u8, body: &'static str, tau: u64) -> Verdict {
        self.tier.fill(&fill(&key(n), body, tau)).await.expect("fill")
    }

    async fn applied(&self) -> Option<Lsn> {
        self.tier.position().await.expect("a position").map(|position| position.applied)
    }
}

async fn refusal(options: RedisOptions) -> String {
    match RedisTier::connect(options).await {
        Err(TierError::Unsuitable(why)) => why,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was accepted"),
    }
}

#[tokio::test]
async fn evicting_policy_rejected() {
    let server = harness::Redis::builder()
        .setting("maxmemory-policy", "allkeys-lru")
        .start()
        .expect("a Redis server");
    let why = refusal(options_for(&server)).await;
    assert!(why.contains("CONFIG SET maxmemory-policy volatile-lru"), "{why}");
    server.cli(&["config", "set", "maxmemory-policy", "volatile-lru"]).expect("redis-cli");
    RedisTier::connect(options_for(&server)).await.expect("the named command helps");
}

#[tokio::test]
async fn inexact_positions_refused() {
    let lab = Lab::new().await;
    let last = 1 << 53;
    lab.tier.apply(&batch(10, last, vec![])).await.expect("apply").expect("no gap");
    assert_eq!(lab.applied().await, Some(Lsn(last)));
    let too_far = batch(last, last + 1, vec![Subject::Key(key(1))]);
    let err = lab.tier.apply(&too_far).await.expect_err("a larger one can't be stored");
    assert!(err.to_string().contains("200000/1"), "{err}");
    assert_eq!(lab.fill(1, "v", last).await, Verdict::Accept);
    let late = lab.tier.fill(&fill(&key(1), "v", last + 1)).await;
    assert!(matches!(late, Err(TierError::Unsuitable(_))));
}

#[tokio::test]
async fn prefixes_are_isolated() {
    let lab = Lab::new().await;
    lab.fill(1, "v1", 10).await;
    let options = RedisOptions { prefix: "other".into(), ..options_for(&lab.server) };
    let other = RedisTier::connect(options).await.expect("a tier");
    assert_eq!(other.position().await.expect("a position"), None);
    other.reset_epoch(NEXT, Lsn(50), Lsn(50)).await.expect("reset");
    assert_eq!(lab.applied().await, Some(Lsn(10)));
    let outcome = other.read(&key(1), None).await.expect("read").outcome;
    assert!(matches!(outcome, cache::shared::Outcome::Miss));
}

#[tokio::test]
async fn tombstones_survive_memory_pressure() {
    let server = harness::Redis::builder()
        .setting("maxmemory", "8mb")
        .setting("maxmemory-policy", "volatile-lru")
        .start()
        .expect("a Redis server");
    let tier = RedisTier::connect(options_for(&server)).await.expect("a tier");
    tier.reset_epoch(EPOCH, Lsn(10), Lsn(10)).await.expect("reset");
    let named = (0..200).map(|n| Subject::Key(key(n))).collect();
    tier.apply(&batch(10, 11, named)).await.expect("apply").expect("no gap");
    for n in 0..400_u64 {
        let name = contract::Key::parse(&format!("v1:big:entry:{n}")).expect("a key");
        let mut big = fill(&name, "", 12);
        let body = vec![b'x'; 50_000].into();
        let value = cache::Value { head: Default::default(), body };
        big.entry.content = cache::entry::Content::Present(value);
        assert_eq!(tier.fill(&big).await.expect("fill"), Verdict::Accept);
    }
    let evicted = server.cli(&["info", "stats"]).expect("redis-cli");
    assert!(!evicted.contains("evicted_keys:0"), "nothing was evicted");
    for n in 0..200 {
        let late = tier.fill(&fill(&key(n), "v1", 10)).await.expect("fill");
        assert_eq!(late, refused(coherence::Refusal::Tombstone), "{n}");
    }
}
