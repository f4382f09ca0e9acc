//! The leader sees to it that the shared tier has room for more tombstones.

use std::sync::Arc;

use cache::leader::Leader;
use cache::shared::MemoryTier;
use cache::{Engine, EngineOptions, Metrics, SharedTier};
use coherence::resume::Start;
use coherence::{Cause, Clock, Event, Lsn};

use crate::rig::*;

#[tokio::test]
async fn distinct_keys_without_end_take_no_memory_without_end() {
    const PIECE: u32 = 10_000;
    let clock: Arc<dyn Clock> = Arc::new(HandClock::default());
    let memory = MemoryTier::new(Arc::clone(&clock), 1 << 20).with_tombstones(TOMBSTONES as usize);
    let tier = Arc::new(memory);
    let shared = Arc::clone(&tier) as Arc<dyn SharedTier>;
    let options = EngineOptions::default();
    let engine = Engine::new(options, shared, Arc::clone(&clock), Metrics::detached());
    let mut leader = Leader::new(engine, clock, FOREVER);
    let (position, new_slot, unbroken) = (Lsn(10), true, None);
    let start = Start { system: 1, timeline: 1, server: 1, new_slot, unbroken, position };
    leader.start(start).await.expect("a start");
    let (mut at, mut most) = (10, 0);
    for piece in 0..30 {
        let event = |n| Event {
            lsn: Lsn(at + 1 + u64::from(n)),
            cause: Cause::Commit,
            committed_us: 0,
            subjects: vec![numbered(piece * PIECE + n)],
            renewals: Vec::new(),
        };
        let upto = at + u64::from(PIECE);
        let mut events = (0..PIECE).map(event).collect();
        leader.apply(Lsn(at), Lsn(upto), Lsn(upto), &mut events).await.expect("memory");
        most = most.max(tier.tombstones());
        leader.collect().await.expect("memory");
        at = upto;
    }
    // What is kept, and what may come until room is made again.
    assert!(most <= TOMBSTONES as usize + 60_000, "{most}");
    let first = tier.read(&key(1), None).await.expect("memory");
    assert_eq!(first.position.map(|standing| standing.applied), Some(Lsn(at)));
}
