use contract::Key;
use proptest::prelude::*;

use super::*;
use crate::event::{Batch, Cause, Event, Subject};
use crate::tier::coverage::CoverageDigest;
use crate::tier::fence::{Fence, Offer, Refusal, Verdict};

const EPOCH: Epoch = Epoch { system: 1, timeline: 1, server: 1, incarnation: 1 };
const OTHER: Epoch = Epoch { incarnation: 2, ..EPOCH };
const MS: u64 = 1_000_000;

fn at(ms: u64) -> Mono {
    Mono(ms * MS)
}

#[test]
fn token_is_the_watermark_of_that_time() {
    let mut history = WatermarkHistory::default();
    assert_eq!(history.token(at(100)), None, "no watermark is known yet");
    history.note(EPOCH, Lsn(10), at(100));
    history.note(EPOCH, Lsn(20), at(300));
    assert_eq!(history.token(at(100)), None, "not at the same moment");
    assert_eq!(history.token(at(101)), Some((EPOCH, Lsn(10))));
    assert_eq!(history.token(at(300)), Some((EPOCH, Lsn(10))));
    assert_eq!(history.token(at(301)), Some((EPOCH, Lsn(20))));
    assert_eq!(history.token(at(90_000)), Some((EPOCH, Lsn(20))), "W has not moved since");
}

#[test]
fn new_epoch_has_no_past() {
    let mut history = WatermarkHistory::default();
    history.note(EPOCH, Lsn(10), at(100));
    history.note(OTHER, Lsn(5), at(300));
    assert_eq!(history.token(at(300)), None);
    assert_eq!(history.token(at(301)), Some((OTHER, Lsn(5))));
    history.forget();
    assert_eq!(history.token(at(301)), None);
}

#[test]
fn lower_watermark_ignored() {
    let mut history = WatermarkHistory::default();
    history.note(EPOCH, Lsn(20), at(100));
    history.note(EPOCH, Lsn(10), at(200));
    history.note(EPOCH, Lsn(20), at(300));
    assert_eq!(history.token(at(200)), Some((EPOCH, Lsn(20))));
    assert_eq!(history.steps(), 1);
}

#[test]
fn fast_steps_merge_and_old_ones_drop() {
    let mut history = WatermarkHistory::default();
    for ms in 0..60_000 {
        history.note(EPOCH, Lsn(ms + 1), at(ms));
        assert!(history.steps() <= 2_002, "{}", history.steps());
    }
    let (_, lsn) = history.token(at(50_000)).expect("within its reach");
    assert!((49_990..=50_001).contains(&lsn.0), "{lsn}");
    assert_eq!(history.token(at(40_000)), None, "outside the reach");
}

/// Races 1, 12 and 23 with a service that lags: an answer that the service read before it showed a
/// commit is refused, whether the commit's event comes early or late.
#[test]
fn race_23_lagging_service_fill_rejected() {
    let lag = Duration::from_millis(200);
    let key = Key::parse("v1:pricing:price:1").expect("a key");
    let (mut fence, mut history) = (Fence::default(), WatermarkHistory::default());
    fence.reset_epoch(EPOCH, Lsn(10), Lsn(10));
    history.note(EPOCH, Lsn(10), at(0));
    let event = |watermark| {
        let subjects = vec![Subject::Key(key.clone())];
        let cause = Cause::Commit;
        let event = Event { lsn: Lsn(11), cause, committed_us: 0, subjects, renewals: Vec::new() };
        Batch {
            epoch: EPOCH,
            prev: Lsn(10),
            upto: Lsn(11),
            watermark,
            coverage: CoverageDigest::NONE,
            events: vec![event],
        }
    };
    let offered = |fence: &Fence, history: &WatermarkHistory, ms| {
        let (epoch, tau) = history.token(Mono(at(ms).0 - lag.as_nanos() as u64)).expect("known");
        fence.admit(Offer { key: &key, tags: &[], tau, epoch, stored: None })
    };
    assert_eq!(offered(&fence, &history, 1_000), Verdict::Accept);
    // The event arrives before its commit is visible, and W stays behind it.
    fence.apply(&event(Lsn(10))).expect("no gap");
    history.note(EPOCH, fence.watermark(), at(1_000));
    assert_eq!(offered(&fence, &history, 1_900), Verdict::Refuse(Refusal::Tombstone));
    // The commit is visible; the service may take another 200 ms to show it.
    fence.apply(&event(Lsn(11))).expect("no gap");
    history.note(EPOCH, fence.watermark(), at(2_000));
    for ms in [2_000, 2_100, 2_200] {
        assert_eq!(offered(&fence, &history, ms), Verdict::Refuse(Refusal::Tombstone), "{ms}");
    }
    assert_eq!(offered(&fence, &history, 2_201), Verdict::Accept);
}

proptest! {
    /// Invariant (I) for services: in any order in which commits become visible and the history learns of
    /// it, every commit up to the token was visible when the service, at its slowest, read.
    #[test]
    fn token_covers_only_visible_commits(
        commits in proptest::collection::vec((0..3_000_u64, 0..50_u64), 1..60),
        lag in 0..2_000_u64,
        asked in proptest::collection::vec(0..200_000_u64, 1..20),
    ) {
        let mut history = WatermarkHistory::default();
        // W passes commits in order: each becomes visible with its predecessor or later.
        let (mut now, mut visible) = (0, Vec::new());
        for (lsn, (pause, learned_after)) in commits.iter().enumerate() {
            now += pause;
            visible.push(now);
            now += learned_after;
            history.note(EPOCH, Lsn(lsn as u64 + 1), at(now));
        }
        for (lsn, visible) in visible.iter().enumerate() {
            let learned = history.reached(Lsn(lsn as u64 + 1));
            prop_assert!(learned.is_some_and(|learned| learned >= at(*visible)), "never too early");
        }
        prop_assert_eq!(history.reached(Lsn(commits.len() as u64 + 1)), None);
        for asked in asked {
            let Some(read) = asked.checked_sub(lag) else { continue };
            let Some((_, tau)) = history.token(at(read)) else { continue };
            for (lsn, visible) in visible.iter().enumerate() {
                prop_assert!(
                    lsn as u64 + 1 > tau.0 || *visible < read,
                    "{} visible at {visible}, read as of {read}, τ = {tau}", lsn + 1
                );
            }
        }
    }

    /// The delay is no longer than needed: once W has been known for the service's lag and one grain,
    /// W is the token.
    #[test]
    fn watermark_is_the_token_after_the_lag(
        pauses in proptest::collection::vec(0..400_u64, 1..60),
        lag in 0..5_000_u64,
    ) {
        let mut history = WatermarkHistory::default();
        let mut now = 0;
        for (lsn, pause) in pauses.iter().enumerate() {
            now += pause;
            history.note(EPOCH, Lsn(lsn as u64 + 1), at(now));
        }
        let asked = now + lag + 1;
        prop_assert_eq!(history.token(at(asked - lag)), Some((EPOCH, Lsn(pauses.len() as u64))));
    }
}
