//! A primary with sentinels: killed, frozen, and with lost writes.

use std::sync::Arc;
use std::time::Duration;

use cache::leader::{ApplyResult, Consumer, Leader};
use cache::shared::{
    Fill, NodeMessage, Outcome, RedisLogin, RedisMetrics, RedisOptions, RedisTier, SharedTier,
    TierError,
};
use cache::{Engine, EngineOptions, SystemClock};
use coherence::fence::Gap;
use coherence::resume::Start;
use coherence::{Batch, Clock, Lsn, Subject, Verdict};
use harness::Sentinels;
use prometheus_client::registry::Registry;

use super::refusal;
use crate::rig::*;

fn options(sentinels: &Sentinels) -> RedisOptions {
    RedisOptions { timeout: Duration::from_secs(5), ..RedisOptions::new(sentinels.url()) }
}

/// A failover without lost writes keeps the entries. The node stream can't prove that, and reports a loss.
#[tokio::test]
async fn failover_followed_through_sentinels() {
    let mut sentinels = Sentinels::start().expect("sentinels");
    let metrics = RedisMetrics::default();
    let options = RedisOptions { metrics: metrics.clone(), ..options(&sentinels) };
    let tier = Arc::new(RedisTier::connect(options).await.expect("a tier"));
    tier.reset_epoch(EPOCH, Lsn(10), Lsn(10)).await.expect("reset");
    assert_eq!(tier.fill(&fill(&key(1), "v1", 10)).await.expect("fill"), Verdict::Accept);
    let mut stream = tier.subscribe();
    assert!(matches!(next(&mut stream).await, NodeMessage::Lost), "begins with a loss");
    sentinels.wait_for_replica(1, 0).expect("in step");

    sentinels.server(0).crash().expect("killed");
    // While there is no primary, calls fail at once.
    let begun = tokio::time::Instant::now();
    let down = eventually("a failure", async || tier.read(&key(1), None).await.err()).await;
    assert!(matches!(down, TierError::Unavailable(_)), "{down}");
    assert!(begun.elapsed() < Duration::from_secs(5));
    let read = eventually("an answer", async || tier.read(&key(1), None).await.ok()).await;
    assert!(matches!(read.outcome, Outcome::Found { .. }));
    assert_eq!(metrics.primary_changes.get(), 1);
    let missed = batch(10, 11, vec![Subject::Key(key(1))]);
    tier.apply(&missed).await.expect("apply").expect("no gap");
    assert!(matches!(next(&mut stream).await, NodeMessage::Lost), "another server");
    let beat = batch(11, 12, vec![]);
    tier.apply(&beat).await.expect("apply").expect("no gap");
    while next_batch(&mut stream).await != beat {}
}

/// Race 21 on real servers: the promoted replica has missed a deletion. It shows its own position,
/// accepts no batch beyond it, and a replay repairs it.
#[tokio::test]
async fn race_21_promoted_replica_lost_deletion() {
    let mut sentinels = Sentinels::start().expect("sentinels");
    let tier = RedisTier::connect(options(&sentinels)).await.expect("a tier");
    tier.reset_epoch(EPOCH, Lsn(10), Lsn(10)).await.expect("reset");
    assert_eq!(tier.fill(&fill(&key(1), "old", 10)).await.expect("fill"), Verdict::Accept);
    let deletion = batch(10, 11, vec![Subject::Key(key(1))]);
    lose_writes(&mut sentinels, async || {
        tier.apply(&deletion).await.expect("apply").expect("no gap");
        let gone = tier.read(&key(1), None).await.expect("read").outcome;
        assert!(matches!(gone, Outcome::Miss));
    })
    .await;
    let read = eventually("an answer", async || tier.read(&key(1), None).await.ok()).await;
    assert!(matches!(read.outcome, Outcome::Found { .. }), "the old entry is back");
    let shown = read.position.map(|position| position.applied);
    assert_eq!(shown, Some(Lsn(10)), "with the position of that time");
    let later = batch(11, 12, vec![]);
    let gap = tier.apply(&later).await.expect("apply");
    assert_eq!(gap, Err(Gap::Missing { applied: Lsn(10), prev: Lsn(11) }));
    // A fill that was loaded before the deletion is valid until the deletion is replayed.
    assert_eq!(tier.fill(&fill(&key(1), "old", 10)).await.expect("fill"), Verdict::Accept);
    for batch in [deletion, later] {
        tier.apply(&batch).await.expect("apply").expect("no gap");
    }
    let gone = tier.read(&key(1), None).await.expect("read").outcome;
    assert!(matches!(gone, Outcome::Miss), "the replay removes it");
    let late = tier.fill(&fill(&key(1), "old", 10)).await.expect("fill");
    assert_eq!(late, refused(coherence::Refusal::Tombstone));
}

/// A primary that was frozen resumes and still acts as one. A tier that asks the sentinels does not use
/// it any more. Its answers are right for its own position, which does not advance.
#[tokio::test]
async fn resumed_primary_ignored() {
    let mut sentinels = Sentinels::start().expect("sentinels");
    let options = RedisOptions { timeout: Duration::from_secs(1), ..options(&sentinels) };
    let tier = RedisTier::connect(options.clone()).await.expect("a tier");
    tier.reset_epoch(EPOCH, Lsn(10), Lsn(10)).await.expect("reset");
    assert_eq!(tier.fill(&fill(&key(1), "old", 10)).await.expect("fill"), Verdict::Accept);
    sentinels.wait_for_replica(1, 0).expect("in step");
    let plain = RedisOptions { url: sentinels.server(0).url(), ..options };
    let old = RedisTier::connect(plain).await.expect("a tier without sentinels");
    sentinels.server(0).pause().expect("frozen");
    sentinels.wait_for_primary(1).expect("a failover");
    for batch in [batch(10, 11, vec![Subject::Key(key(1))]), batch(11, 12, vec![])] {
        let applied = eventually("a batch", async || tier.apply(&batch).await.ok()).await;
        assert_eq!(applied, Ok(()), "on the new primary");
    }
    sentinels.server(0).resume().expect("woken");
    // Some seconds pass before the sentinels reach it. It may still apply commands that it received while
    // it was frozen.
    if let Ok(read) = old.read(&key(1), None).await {
        let shown = read.position.expect("an epoch").applied;
        assert!(shown < Lsn(12), "it receives no batch: {shown}");
        assert_eq!(shown == Lsn(10), matches!(read.outcome, Outcome::Found { .. }), "{read:?}");
        if let Ok(applied) = old.apply(&batch(12, 13, vec![])).await {
            let gap = matches!(applied, Err(Gap::Missing { prev: Lsn(12), .. }));
            assert!(gap, "{applied:?}");
        }
    }
    let read = tier.read(&key(1), None).await.expect("read");
    assert!(matches!(read.outcome, Outcome::Miss));
    assert_eq!(read.position.map(|position| position.applied), Some(Lsn(12)));
}

/// The leader replays the batches that the replica missed, in the same epoch, and earlier entries stay. A
/// replica that missed more than the leader can replay proves nothing.
#[tokio::test]
async fn leader_replays_to_promoted_replica() {
    let mut sentinels = Sentinels::start().expect("sentinels");
    let tier = Arc::new(RedisTier::connect(options(&sentinels)).await.expect("a tier"));
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let metrics = cache::Metrics::new(&mut Registry::default());
    let shared = Arc::clone(&tier) as Arc<dyn SharedTier>;
    let engine = Engine::new(EngineOptions::default(), shared, Arc::clone(&clock), metrics);
    let mut leader = Leader::new(engine, clock, LONG);
    let start = Start {
        system: 7,
        timeline: 1,
        server: 3,
        new_slot: true,
        unbroken: None,
        position: Lsn(10),
    };
    leader.start(start, Consumer::default()).await.expect("an epoch");
    let epoch = tier.position().await.expect("a position").expect("an epoch").epoch;
    let stored = async |n| {
        let fill = Fill { epoch, ..fill(&key(n), "old", 10) };
        tier.fill(&fill).await.expect("fill")
    };
    let events = |batch: Batch| batch.events;
    let commit = |at, n| events(batch(at - 1, at, vec![Subject::Key(key(n))]));
    leader.apply(Lsn(10), Lsn(11), Lsn(10), &mut commit(11, 9)).await.expect("applied");
    assert_eq!((stored(1).await, stored(2).await), (Verdict::Accept, Verdict::Accept));
    lose_writes(&mut sentinels, async || {
        leader.apply(Lsn(11), Lsn(12), Lsn(10), &mut commit(12, 1)).await.expect("applied");
    })
    .await;
    // The gap is noticed without further commits.
    let repaired = eventually("a reconciliation", async || leader.reconcile().await.ok()).await;
    assert_eq!(repaired, ApplyResult::Replayed(Lsn(11)));
    let position = tier.position().await.expect("a position").expect("an epoch");
    assert_eq!((position.epoch, position.applied), (epoch, Lsn(12)), "the same epoch");
    let outcomes = [1, 2].map(key);
    let read = tier.read_many(&outcomes, None).await.expect("read");
    assert!(matches!(read[0].outcome, Outcome::Miss), "{read:?}");
    assert!(matches!(read[1].outcome, Outcome::Found { .. }), "{read:?}");
    assert_eq!(leader.reconcile().await.expect("looked"), ApplyResult::Applied);
}

/// Writes without the replica, then has the replica promoted.
async fn lose_writes(sentinels: &mut Sentinels, write: impl AsyncFnOnce()) {
    sentinels.wait_for_replica(1, 0).expect("in step");
    // The data in the frozen replica's socket is lost with the connection.
    sentinels.pause().expect("sentinels frozen");
    sentinels.server(1).pause().expect("replica frozen");
    sentinels.server(0).cli(&["client", "kill", "type", "replica"]).expect("cut off");
    write().await;
    sentinels.server(0).crash().expect("killed");
    sentinels.server(1).resume().expect("replica woken");
    sentinels.resume().expect("sentinels woken");
}

#[tokio::test]
async fn separate_sentinel_login() {
    let mut sentinels = Sentinels::start().expect("sentinels");
    let watcher = ["acl", "setuser", "watcher", "on", ">watch", "-@all"];
    let rights = ["+sentinel|master", "+sentinel|get-master-addr-by-name"];
    sentinels.cli_on_all(&[&watcher[..], &rights[..]].concat()).expect("a user of the sentinels");
    let reader = ["acl", "setuser", "reader", "on", ">data", "~{tg:*", "+@all"];
    sentinels.server(0).cli(&reader).expect("a user of the server");

    let url = sentinels.url().replace("://", "://reader:data@");
    let sentinel = RedisLogin {
        user: Some("watcher".into()),
        password: Some("watch".into()),
        password_file: None,
    };
    let good = RedisOptions { url, sentinel, ..options(&sentinels) };
    let tier = RedisTier::connect(good.clone()).await.expect("a tier");
    assert_eq!(tier.position().await.expect("a position"), None);
    for wrong in [
        RedisOptions { url: good.url.replace(":data@", ":dada@"), ..good.clone() },
        RedisOptions {
            sentinel: RedisLogin { password: Some("witch".into()), ..good.sentinel.clone() },
            ..good.clone()
        },
    ] {
        match RedisTier::connect(wrong).await {
            Err(TierError::Unsuitable(why)) => {
                assert!(why.contains("refuses the login") && !why.contains("witch"), "{why}");
            }
            other => panic!("{:?}", other.err()),
        }
    }
    let url = good.url.replace("/shop", "/shoe");
    let why = refusal(RedisOptions { url, ..good }).await;
    assert!(why.contains("nothing called \"shoe\""), "{why}");
}
