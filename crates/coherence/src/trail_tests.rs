use contract::Key;
use proptest::prelude::*;

use super::*;
use crate::event::{Batch, Cause, Event, Subject};
use crate::fence::{Fence, Offer, Refusal, Verdict};

const EPOCH: Epoch = Epoch { system: 1, timeline: 1, server: 1, incarnation: 1 };
const OTHER: Epoch = Epoch { incarnation: 2, ..EPOCH };
const MS: u64 = 1_000_000;

fn at(ms: u64) -> Mono {
    Mono(ms * MS)
}

#[test]
fn the_token_is_the_watermark_of_that_time() {
    let mut trail = Trail::default();
    assert_eq!(trail.token(at(100)), None, "nothing was heard of yet");
    trail.note(EPOCH, Lsn(10), at(100));
    trail.note(EPOCH, Lsn(20), at(300));
    assert_eq!(trail.token(at(100)), None, "not at the same moment");
    assert_eq!(trail.token(at(101)), Some((EPOCH, Lsn(10))));
    assert_eq!(trail.token(at(300)), Some((EPOCH, Lsn(10))));
    assert_eq!(trail.token(at(301)), Some((EPOCH, Lsn(20))));
    assert_eq!(trail.token(at(90_000)), Some((EPOCH, Lsn(20))), "it has not moved since");
}

#[test]
fn a_new_history_has_no_past() {
    let mut trail = Trail::default();
    trail.note(EPOCH, Lsn(10), at(100));
    trail.note(OTHER, Lsn(5), at(300));
    assert_eq!(trail.token(at(300)), None);
    assert_eq!(trail.token(at(301)), Some((OTHER, Lsn(5))));
    trail.forget();
    assert_eq!(trail.token(at(301)), None);
}

#[test]
fn a_watermark_that_was_overtaken_changes_nothing() {
    let mut trail = Trail::default();
    trail.note(EPOCH, Lsn(20), at(100));
    trail.note(EPOCH, Lsn(10), at(200));
    trail.note(EPOCH, Lsn(20), at(300));
    assert_eq!(trail.token(at(200)), Some((EPOCH, Lsn(20))));
    assert_eq!(trail.steps(), 1);
}

#[test]
fn what_comes_fast_is_taken_together_and_what_is_old_is_let_go() {
    let mut trail = Trail::default();
    for ms in 0..60_000 {
        trail.note(EPOCH, Lsn(ms + 1), at(ms));
        assert!(trail.steps() <= 2_002, "{}", trail.steps());
    }
    let (_, lsn) = trail.token(at(50_000)).expect("within its reach");
    assert!((49_990..=50_001).contains(&lsn.0), "{lsn}");
    assert_eq!(trail.token(at(40_000)), None, "too long ago");
}

/// Races 1, 12 and 23 in the form of a service that lags: what it read before it had seen a commit
/// is refused, whenever the commit's event came.
#[test]
fn race_23_a_commit_refuses_fills_until_the_service_must_have_seen_it() {
    let lag = Duration::from_millis(200);
    let key = Key::parse("v1:pricing:price:1").expect("a key");
    let (mut fence, mut trail) = (Fence::default(), Trail::default());
    fence.incarnate(EPOCH, Lsn(10), Lsn(10));
    trail.note(EPOCH, Lsn(10), at(0));
    let event = |watermark| {
        let subjects = vec![Subject::Key(key.clone())];
        let cause = Cause::Commit;
        let event = Event { lsn: Lsn(11), cause, committed_us: 0, subjects, renewals: Vec::new() };
        Batch { epoch: EPOCH, prev: Lsn(10), upto: Lsn(11), watermark, events: vec![event] }
    };
    let offered = |fence: &Fence, trail: &Trail, ms| {
        let (epoch, tau) = trail.token(Mono(at(ms).0 - lag.as_nanos() as u64)).expect("known");
        fence.admit(Offer { key: &key, tags: &[], tau, epoch, stored: None })
    };
    assert_eq!(offered(&fence, &trail, 1_000), Verdict::Accept);
    // The event is there before its commit is visible, and W stays behind it.
    fence.apply(&event(Lsn(10))).expect("it fits");
    trail.note(EPOCH, fence.watermark(), at(1_000));
    assert_eq!(offered(&fence, &trail, 1_900), Verdict::Refuse(Refusal::Tombstone));
    // Visible; the service may not show it before another 200 ms have passed.
    fence.apply(&event(Lsn(11))).expect("it fits");
    trail.note(EPOCH, fence.watermark(), at(2_000));
    for ms in [2_000, 2_100, 2_200] {
        assert_eq!(offered(&fence, &trail, ms), Verdict::Refuse(Refusal::Tombstone), "{ms}");
    }
    assert_eq!(offered(&fence, &trail, 2_201), Verdict::Accept);
}

proptest! {
    /// Invariant (I) for services: whatever order commits become visible in and are heard of, every
    /// commit up to the token was visible when the service, at its slowest, read.
    #[test]
    fn every_commit_up_to_the_token_was_there_when_the_service_read(
        commits in proptest::collection::vec((0..3_000_u64, 0..50_u64), 1..60),
        lag in 0..2_000_u64,
        asked in proptest::collection::vec(0..200_000_u64, 1..20),
    ) {
        let mut trail = Trail::default();
        // W passes commits in order: each is visible when the last one is, or later.
        let (mut now, mut visible) = (0, Vec::new());
        for (lsn, (pause, heard_after)) in commits.iter().enumerate() {
            now += pause;
            visible.push(now);
            now += heard_after;
            trail.note(EPOCH, Lsn(lsn as u64 + 1), at(now));
        }
        for (lsn, visible) in visible.iter().enumerate() {
            let heard = trail.reached(Lsn(lsn as u64 + 1));
            prop_assert!(heard.is_some_and(|heard| heard >= at(*visible)), "never too early");
        }
        prop_assert_eq!(trail.reached(Lsn(commits.len() as u64 + 1)), None);
        for asked in asked {
            let Some(read) = asked.checked_sub(lag) else { continue };
            let Some((_, tau)) = trail.token(at(read)) else { continue };
            for (lsn, visible) in visible.iter().enumerate() {
                prop_assert!(
                    lsn as u64 + 1 > tau.0 || *visible < read,
                    "{} visible at {visible}, read as of {read}, τ = {tau}", lsn + 1
                );
            }
        }
    }

    /// It holds nobody back for longer than it must: once W has been heard of for so long as the
    /// service may lag, and a grain more, it is the token.
    #[test]
    fn after_the_lag_the_watermark_is_the_token(
        pauses in proptest::collection::vec(0..400_u64, 1..60),
        lag in 0..5_000_u64,
    ) {
        let mut trail = Trail::default();
        let mut now = 0;
        for (lsn, pause) in pauses.iter().enumerate() {
            now += pause;
            trail.note(EPOCH, Lsn(lsn as u64 + 1), at(now));
        }
        let asked = now + lag + 1;
        prop_assert_eq!(trail.token(at(asked - lag)), Some((EPOCH, Lsn(pauses.len() as u64))));
    }
}
