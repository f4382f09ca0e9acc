//! A server that is flushed, stopped, frozen, rolled back or cut off.

use std::time::Duration;

use cache::shared::{NodeMessage, Outcome, RedisOptions, RedisTier, SharedTier, TierError};
use coherence::fence::Gap;
use coherence::{Lsn, Refusal, Subject, Verdict};
use tokio::sync::mpsc::Receiver;
use tokio::time::Instant;

use super::Lab;
use crate::rig::*;

async fn stream(lab: &Lab) -> Receiver<NodeMessage> {
    let mut stream = lab.tier.subscribe();
    assert!(matches!(next(&mut stream).await, NodeMessage::Lost), "begins with a loss");
    stream
}

#[tokio::test]
async fn race_09_flush_refuses_fills_in_flight() {
    let lab = Lab::new().await;
    lab.fill(1, "v1", 10).await;
    let mut stream = stream(&lab).await;
    lab.server.flushall().expect("flush");
    assert_eq!(lab.fill(2, "v1", 10).await, refused(Refusal::Unproven));
    let read = lab.tier.read(&key(1), Some(LONG)).await.expect("read");
    assert_eq!(read.position, None);
    assert!(matches!(read.outcome, Outcome::Miss));
    let gap = lab.tier.apply(&batch(10, 11, vec![])).await.expect("apply");
    assert_eq!(gap, Err(Gap::Unproven));

    lab.tier.reset_epoch(NEXT, Lsn(11), Lsn(11)).await.expect("reset");
    assert_eq!(lab.fill(2, "v1", 99).await, refused(Refusal::Epoch));
    assert!(matches!(next(&mut stream).await, NodeMessage::Lost), "its messages are gone");
    let beat = coherence::Batch { epoch: NEXT, ..batch(11, 12, vec![]) };
    lab.tier.apply(&beat).await.expect("apply").expect("no gap");
    assert_eq!(next_batch(&mut stream).await, beat);
}

#[tokio::test]
async fn race_21_older_snapshot_restored() {
    let mut lab = Lab::new().await;
    let mut stream = stream(&lab).await;
    lab.fill(1, "v1", 10).await;
    lab.cli(&["save"]);
    let missed = batch(10, 11, vec![Subject::Key(key(1))]);
    lab.tier.apply(&missed).await.expect("apply").expect("no gap");
    assert_eq!(next_batch(&mut stream).await, missed);
    lab.server.crash().expect("crash");
    lab.server.start_again().expect("restart");

    let read = eventually("a read", async || lab.tier.read(&key(1), None).await.ok()).await;
    assert!(matches!(read.outcome, Outcome::Found { .. }), "the old entry is back");
    let shown = read.position.map(|position| position.applied);
    assert_eq!(shown, Some(Lsn(10)), "with the position of that time");
    let gap = lab.tier.apply(&batch(11, 12, vec![])).await.expect("apply");
    assert_eq!(gap, Err(Gap::Missing { applied: Lsn(10), prev: Lsn(11) }));
    assert!(matches!(next(&mut stream).await, NodeMessage::Lost));

    lab.tier.reset_epoch(NEXT, Lsn(12), Lsn(12)).await.expect("reset");
    let outcome = lab.tier.read(&key(1), None).await.expect("read").outcome;
    assert!(matches!(outcome, Outcome::Miss));
    assert_eq!(next_batch(&mut stream).await.epoch, NEXT);
}

#[tokio::test]
async fn restarted_server_has_no_epoch() {
    let mut lab = Lab::new().await;
    let mut stream = stream(&lab).await;
    lab.server.stop().expect("stop");
    for _ in 0..3 {
        let down = lab.tier.read(&key(1), None).await;
        assert!(matches!(down, Err(TierError::Unavailable(_))), "{down:?}");
        let down = lab.tier.fill(&fill(&key(1), "v", 10)).await;
        assert!(matches!(down, Err(TierError::Unavailable(_))), "{down:?}");
    }
    lab.server.start_again().expect("restart");
    let position = eventually("an answer", async || lab.tier.position().await.ok()).await;
    assert_eq!(position, None, "it has no epoch");
    lab.tier.reset_epoch(NEXT, Lsn(20), Lsn(20)).await.expect("reset");
    assert!(matches!(next(&mut stream).await, NodeMessage::Lost));
    let beat = coherence::Batch { epoch: NEXT, ..batch(20, 21, vec![]) };
    lab.tier.apply(&beat).await.expect("apply").expect("no gap");
    let mut last = next_batch(&mut stream).await;
    if last != beat {
        // The subscription was back before the epoch reset.
        last = next_batch(&mut stream).await;
    }
    assert_eq!(last, beat);
}

#[tokio::test]
async fn frozen_server_times_out() {
    let mut lab = Lab::new().await;
    let limit = Duration::from_millis(50);
    let options = RedisOptions { timeout: limit, ..options_for(&lab.server) };
    let tier = RedisTier::connect(options).await.expect("a tier");
    lab.server.pause().expect("pause");
    let begun = Instant::now();
    let frozen = tier.read(&key(1), None).await;
    assert!(matches!(frozen, Err(TierError::Timeout(after)) if after == limit), "{frozen:?}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    lab.server.resume().expect("resume");
    eventually("an answer", async || tier.position().await.ok().flatten()).await;
}

#[tokio::test]
async fn flushed_scripts_reloaded() {
    let lab = Lab::new().await;
    lab.cli(&["script", "flush"]);
    assert_eq!(lab.fill(1, "v1", 10).await, Verdict::Accept);
    assert_eq!(lab.applied().await, Some(Lsn(10)));
}

#[tokio::test]
async fn cut_subscription_continues() {
    let lab = Lab::new().await;
    let mut stream = stream(&lab).await;
    let publish = async |from: u64| {
        let beat = batch(from, from + 1, vec![]);
        let again = async || lab.tier.apply(&beat).await.ok();
        eventually("apply", again).await.expect("no gap");
    };
    for round in 0..5 {
        let at = 10 + 2 * round;
        publish(at).await;
        lab.cli(&["client", "kill", "type", "normal"]);
        publish(at + 1).await;
        assert_eq!(next_batch(&mut stream).await.upto, Lsn(at + 1));
        assert_eq!(next_batch(&mut stream).await.upto, Lsn(at + 2), "nothing was lost");
    }
    assert!(lab.metrics.reconnects.get() >= 5);
    assert_eq!(lab.metrics.losses.get(), 1, "the first");
}

/// A stream whose ids are older than the ids that the subscription knows, as after a flush under a clock
/// that was set back.
#[tokio::test]
async fn stream_with_older_ids_is_a_loss() {
    let lab = Lab::new().await;
    lab.cli(&["del", "{tg:0}:stream"]);
    lab.cli(&["xadd", "{tg:0}:stream", "99999999999999-0", "n", "1", "evict", "[]"]);
    let mut stream = stream(&lab).await;
    lab.cli(&["del", "{tg:0}:stream"]);
    assert!(matches!(next(&mut stream).await, NodeMessage::Lost));
    let beat = batch(10, 11, vec![]);
    lab.tier.apply(&beat).await.expect("apply").expect("no gap");
    assert_eq!(next_batch(&mut stream).await, beat);
}

#[tokio::test]
async fn subscription_ends_with_receiver() {
    let lab = Lab::new().await;
    let readers = || lab.cli(&["client", "list"]).matches("cmd=xread").count();
    let stream = stream(&lab).await;
    eventually("a reader", async || (readers() == 1).then_some(())).await;
    drop(stream);
    eventually("its end", async || (readers() == 0).then_some(())).await;
}

/// Not a measurement, only a guard against polling.
#[tokio::test]
async fn messages_pushed_not_polled() {
    let lab = Lab::new().await;
    let mut stream = stream(&lab).await;
    let mut best = Duration::MAX;
    for at in 10..60 {
        lab.tier.apply(&batch(at, at + 1, vec![])).await.expect("apply").expect("no gap");
        let published = Instant::now();
        next_batch(&mut stream).await;
        best = best.min(published.elapsed());
    }
    assert!(best < Duration::from_millis(20), "{best:?}");
}
