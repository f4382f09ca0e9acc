//! The leader keeps the number of tombstones in the shared tier limited.

use std::sync::Arc;

use cache::leader::{Consumer, Leader};
use cache::shared::MemoryTier;
use cache::{Engine, EngineOptions, Metrics, SharedTier};
use coherence::resume::Start;
use coherence::{Cause, Clock, Event, Lsn};

use crate::rig::*;

#[tokio::test]
async fn tombstone_count_stays_limited() {
    const CHUNK: u32 = 10_000;
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::default());
    let memory = MemoryTier::new(Arc::clone(&clock), 1 << 20).with_tombstones(TOMBSTONES as usize);
    let tier = Arc::new(memory);
    let shared = Arc::clone(&tier) as Arc<dyn SharedTier>;
    let options = EngineOptions::default();
    let engine = Engine::new(options, shared, Arc::clone(&clock), Metrics::detached());
    let mut leader = Leader::new(engine, clock, FOREVER);
    let (position, new_slot, unbroken) = (Lsn(10), true, None);
    let start = Start { system: 1, timeline: 1, server: 1, new_slot, unbroken, position };
    leader.start(start, Consumer::default()).await.expect("a start");
    let (mut at, mut most) = (10, 0);
    for chunk in 0..30 {
        let event = |n| Event {
            lsn: Lsn(at + 1 + u64::from(n)),
            cause: Cause::Commit,
            committed_us: 0,
            subjects: vec![numbered(chunk * CHUNK + n)],
            renewals: Vec::new(),
        };
        let upto = at + u64::from(CHUNK);
        let mut events = (0..CHUNK).map(event).collect();
        leader.apply(Lsn(at), Lsn(upto), Lsn(upto), &mut events).await.expect("memory");
        most = most.max(tier.tombstones());
        leader.collect().await.expect("memory");
        at = upto;
    }
    // The limit, and the tombstones that are added before the next trim.
    assert!(most <= TOMBSTONES as usize + 60_000, "{most}");
    let first = tier.read(&key(1), None).await.expect("memory");
    assert_eq!(first.position.map(|position| position.applied), Some(Lsn(at)));
}
