//! The suite that every shared tier has to pass. Races are numbered as in `docs/coherence.md`.

use std::time::Duration;

use cache::entry::{Content, Value};
use cache::shared::{Fill, NodeMessage, Outcome, Touch};
use coherence::fence::Gap;
use coherence::{Batch, Cause, CoverageDigest, Event, Lsn, Refusal, Subject, Verdict};
use contract::Tag;

use crate::rig::*;

macro_rules! suite {
    ($($case:ident),* ; of one fence: $($one:ident),* $(,)?) => {
        mod memory {
            use crate::rig::Rig;
            $(#[tokio::test] async fn $case() { super::$case(Rig::memory().await).await; })*
            $(#[tokio::test] async fn $one() { super::$one(Rig::memory().await).await; })*
        }
        mod redis {
            use crate::rig::Rig;
            $(#[tokio::test] async fn $case() { super::$case(Rig::redis().await).await; })*
            $(#[tokio::test] async fn $one() { super::$one(Rig::redis().await).await; })*
        }
        mod cluster {
            use crate::rig::{Rig, Server};

            /// One cluster for all cases, each with a prefix of its own.
            #[tokio::test]
            async fn cluster_passes_the_suite() {
                let server = Server::cluster();
                let mut number = 0;
                $(
                    number += 1;
                    println!("{}", stringify!($case));
                    super::$case(Rig::on(&server, &format!("case-{number}")).await).await;
                )*
            }
        }
    };
}

pub(crate) use suite;

suite! {
    new_tier_proves_nothing,
    stored_entry_read_back,
    expired_entry_is_a_miss,
    touched_entry_lives_on,
    touch_respects_max_lifetime,
    race_01_late_read_not_stored,
    race_04_older_read_refused,
    race_06_replayed_event_keeps_newer_value,
    race_08_eviction_admits_no_older_read,
    race_09_epoch_reset_refuses_fills,
    race_10_missed_batch_is_a_gap,
    race_13_insert_invalidates_absence,
    race_14_tag_invalidates_its_entries,
    race_14_truncate_invalidates_everything,
    race_20_expired_lease_taken_over,
    race_20_fill_after_takeover_refused,
    expired_lease_still_fills,
    race_21_older_position_shown,
    one_lease_others_wait,
    epoch_reset_voids_leases,
    heartbeat_moves_positions,
    positions_never_decrease,
    eviction_raises_no_tombstone,
    tag_eviction_leaves_later_entries,
    uncacheable_stored_without_data,
    stream_delivers_in_order,
    large_commit_arrives_whole,
    commit_renews_stored_entries,
    renewal_obeys_the_fill_rule,
    slow_subscriber_receives_lost;
    of one fence:
    touched_entry_outlives_collection,
    collection_raises_the_floor,
    floor_replaces_oldest_tombstones,
}

async fn new_tier_proves_nothing(rig: Rig) {
    assert_eq!(rig.tier.position().await.expect("a position"), None);
    let read = rig.tier.read(&key(1), Some(LONG)).await.expect("read");
    assert_eq!(read.position, None);
    assert!(matches!(read.outcome, Outcome::Miss), "no lease where no fill is accepted");
    assert_eq!(rig.fill(fill(&key(1), "v", 99)).await, refused(Refusal::Unproven));
    let gap = rig.tier.apply(&batch(0, 1, vec![])).await.expect("apply");
    assert_eq!(gap, Err(Gap::Unproven));
    assert_eq!(rig.tier.collect(Lsn(99)).await.expect("collect"), 0);
    rig.tier.evict(&[Subject::Everything, Subject::Tag(tag(1))]).await.expect("evict");
    assert_eq!(rig.tier.position().await.expect("a position"), None);
}

async fn stored_entry_read_back(rig: Rig) {
    let rig = rig.with_epoch().await;
    let mut given = tagged(&key(1), "", 12, &[tag(1), tag(2)]);
    let (head, body) = (vec![0, 10, 255].into(), vec![b'\n'; 70_000].into());
    given.entry.content = Content::Present(Value { head, body });
    assert_eq!(rig.fill(given.clone()).await, Verdict::Accept);
    let read = rig.read(&key(1)).await;
    let at = position(10, 10);
    assert_eq!(read.position, Some(at));
    let Outcome::Found { entry, remaining } = read.outcome else { panic!("{:?}", read.outcome) };
    assert_eq!(entry, given.entry);
    assert!(remaining > LONG / 2 && remaining <= LONG, "{remaining:?}");
    assert_eq!(rig.found(&key(2)).await, None);
}

async fn expired_entry_is_a_miss(rig: Rig) {
    let rig = rig.with_epoch().await;
    let mut short = fill(&key(1), "v", 12);
    short.entry.ttl = Duration::from_millis(40);
    assert_eq!(rig.fill(short).await, Verdict::Accept);
    rig.pass(Duration::from_millis(80)).await;
    assert_eq!(rig.found(&key(1)).await, None);
    assert_eq!(rig.fill(fill(&key(1), "older", 11)).await, Verdict::Accept, "no entry is stored");
}

/// A TTL that is long enough for a loaded machine, and a 64th of which, the smallest prolongation, passes
/// within two seconds.
const MINUTE: Duration = Duration::from_secs(60);
const NO_LIMIT: Touch = Touch::within(Duration::MAX);

async fn touched_entry_lives_on(rig: Rig) {
    let rig = rig.with_epoch().await;
    let minute_fill = |n, content| {
        let mut fill = fill(&key(n), "v", 12);
        (fill.entry.ttl, fill.entry.content) = (MINUTE, content);
        fill
    };
    let value = entry("v", 12).content;
    for n in 1..=3 {
        rig.fill(minute_fill(n, value.clone())).await;
    }
    rig.fill(minute_fill(4, Content::Absent)).await;
    rig.pass(Duration::from_secs(2)).await;
    let keys = [key(1), key(2), key(4), key(5)];
    let touches = [Some(NO_LIMIT), None, Some(NO_LIMIT), Some(NO_LIMIT)];
    let reads = rig.tier.read_and_touch(&keys, &touches, None).await.expect("read");
    let touched: Vec<_> = reads
        .into_iter()
        .map(|read| match read.outcome {
            Outcome::Found { remaining, .. } => Some(remaining == MINUTE),
            _ => None,
        })
        .collect();
    assert_eq!(touched, [Some(true), Some(false), Some(false), None], "absence is not touched");
    let ahead = Touch { proven_from: Lsn(11), ..NO_LIMIT };
    rig.tier.touch(&[(key(2), ahead)]).await.expect("touch");
    rig.tier.touch(&[(key(3), NO_LIMIT), (key(5), NO_LIMIT)]).await.expect("touch");
    let margin = Duration::from_secs(1);
    assert!(rig.remaining(&key(3)).await > rig.remaining(&key(2)).await + margin);
    assert_eq!(rig.found(&key(5)).await, None);
    // An invalidated entry is not restored.
    rig.apply(batch(10, 13, vec![Subject::Key(key(1))])).await;
    let read = rig.tier.read_and_touch(&keys[..1], &touches, None).await.expect("read").remove(0);
    assert!(matches!(read.outcome, Outcome::Miss));
    assert_eq!(rig.fill(minute_fill(1, value)).await, refused(Refusal::Tombstone));
}

async fn touch_respects_max_lifetime(rig: Rig) {
    let rig = rig.with_epoch().await;
    let mut old = fill(&key(1), "v", 12);
    old.entry.ttl = MINUTE;
    old.entry.loaded_wall_ms = rig.wall_ms() - 11_000;
    rig.fill(old).await;
    rig.pass(Duration::from_secs(2)).await;
    let limit = |secs| Touch::within(Duration::from_secs(secs));
    for touch in [limit(70), limit(5)] {
        rig.tier.touch(&[(key(1), touch)]).await.expect("touch");
        let left = rig.remaining(&key(1)).await;
        assert!(left <= Duration::from_secs(58) && !left.is_zero(), "{left:?}");
    }
    rig.tier.touch(&[(key(1), limit(7_200))]).await.expect("touch");
    assert!(rig.remaining(&key(1)).await > Duration::from_secs(58));
}

async fn touched_entry_outlives_collection(rig: Rig) {
    let rig = rig.with_epoch().await;
    for n in 1..=2 {
        let mut fill = fill(&key(n), "v", 10);
        fill.entry.ttl = MINUTE;
        rig.fill(fill).await;
    }
    // A position with more digits than the one that the entry was stored with.
    rig.apply(batch(10, 1_234, vec![Subject::Key(key(9))])).await;
    rig.pass(Duration::from_secs(2)).await;
    rig.tier.touch(&[(key(1), NO_LIMIT)]).await.expect("touch");
    assert_eq!(rig.tier.collect(Lsn(1_234)).await.expect("collect"), 1);
    let mut expected = entry("v", 1_234);
    (expected.ttl, expected.seen) = (MINUTE, Lsn(10));
    assert_eq!(rig.found(&key(1)).await, Some(expected));
    assert_eq!(rig.found(&key(2)).await, None, "its validity is unknown");
}

async fn race_01_late_read_not_stored(rig: Rig) {
    let rig = rig.with_epoch().await;
    let slow = fill(&key(1), "v1", 10);
    rig.apply(batch(10, 11, vec![Subject::Key(key(1))])).await;
    assert_eq!(rig.fill(slow).await, refused(Refusal::Tombstone));
    assert_eq!(rig.found(&key(1)).await, None);
    assert_eq!(rig.fill(fill(&key(1), "v2", 11)).await, Verdict::Accept);
    assert_eq!(rig.found(&key(1)).await, Some(entry("v2", 11)));
}

async fn race_04_older_read_refused(rig: Rig) {
    let rig = rig.with_epoch().await;
    assert_eq!(rig.fill(fill(&key(1), "v2", 15)).await, Verdict::Accept);
    assert_eq!(rig.fill(fill(&key(1), "v1", 12)).await, refused(Refusal::Older));
    assert_eq!(rig.found(&key(1)).await, Some(entry("v2", 15)));
    assert_eq!(rig.fill(fill(&key(1), "v3", 15)).await, Verdict::Accept);
}

async fn race_06_replayed_event_keeps_newer_value(rig: Rig) {
    let rig = rig.with_epoch().await;
    let event = batch(10, 11, vec![Subject::Key(key(1))]);
    rig.apply(event.clone()).await;
    rig.fill(fill(&key(1), "v2", 11)).await;
    rig.apply(event).await;
    assert_eq!(rig.found(&key(1)).await, Some(entry("v2", 11)));
}

async fn race_08_eviction_admits_no_older_read(rig: Rig) {
    let rig = rig.with_epoch().await;
    rig.apply(batch(10, 11, vec![Subject::Key(key(1))])).await;
    rig.fill(fill(&key(1), "v2", 11)).await;
    rig.tier.evict(&[Subject::Key(key(1))]).await.expect("evict");
    assert_eq!(rig.fill(fill(&key(1), "v1", 10)).await, refused(Refusal::Tombstone));
}

async fn race_09_epoch_reset_refuses_fills(rig: Rig) {
    let rig = rig.with_epoch().await;
    rig.fill(fill(&key(1), "v1", 10)).await;
    let in_flight = fill(&key(2), "v1", 10);
    rig.tier.reset_epoch(NEXT, Lsn(20), Lsn(20)).await.expect("reset");
    assert_eq!(rig.found(&key(1)).await, None, "entries are void");
    assert_eq!(rig.fill(in_flight).await, refused(Refusal::Epoch));
    let fresh = |tau| Fill { epoch: NEXT, ..fill(&key(2), "v2", tau) };
    assert_eq!(rig.fill(fresh(19)).await, refused(Refusal::Floor));
    assert_eq!(rig.fill(fresh(20)).await, Verdict::Accept);
}

async fn race_10_missed_batch_is_a_gap(rig: Rig) {
    let rig = rig.with_epoch().await;
    rig.fill(fill(&key(1), "v1", 10)).await;
    let late = batch(11, 12, vec![Subject::Key(key(1))]);
    let gap = rig.tier.apply(&late).await.expect("apply");
    assert_eq!(gap, Err(Gap::Missing { applied: Lsn(10), prev: Lsn(11) }));
    let other = Batch { epoch: NEXT, ..batch(10, 11, vec![]) };
    let gap = rig.tier.apply(&other).await.expect("apply");
    assert_eq!(gap, Err(Gap::Epoch { tier: EPOCH }));
    let read = rig.read(&key(1)).await;
    assert_eq!(read.position.map(|s| s.applied), Some(Lsn(10)));
    assert!(matches!(read.outcome, Outcome::Found { .. }), "its entry has every commit up to 10");
}

async fn race_13_insert_invalidates_absence(rig: Rig) {
    let rig = rig.with_epoch().await;
    let mut absent = fill(&key(9), "", 10);
    absent.entry.content = Content::Absent;
    assert_eq!(rig.fill(absent.clone()).await, Verdict::Accept);
    assert_eq!(rig.found(&key(9)).await, Some(absent.entry.clone()));
    rig.apply(batch(10, 11, vec![Subject::Key(key(9))])).await;
    assert_eq!(rig.found(&key(9)).await, None);
    assert_eq!(rig.fill(absent).await, refused(Refusal::Tombstone));
}

async fn race_14_tag_invalidates_its_entries(rig: Rig) {
    let rig = rig.with_epoch().await;
    for n in 1..=3 {
        rig.fill(tagged(&key(n), "v1", 10, &[tag(n), tag(9)])).await;
    }
    rig.apply(batch(10, 11, vec![Subject::Tag(tag(2))])).await;
    assert_eq!(rig.found(&key(2)).await, None);
    assert!(rig.found(&key(1)).await.is_some(), "not its tag");
    let in_flight = tagged(&key(2), "v1", 10, &[tag(2)]);
    assert_eq!(rig.fill(in_flight).await, refused(Refusal::Tombstone));
    assert_eq!(rig.fill(fill(&key(2), "v1", 10)).await, Verdict::Accept, "it has left the tag");
    rig.apply(batch(11, 12, vec![Subject::Tag(tag(9))])).await;
    assert_eq!(rig.found(&key(1)).await, None);
    assert_eq!(rig.found(&key(3)).await, None);
}

async fn race_14_truncate_invalidates_everything(rig: Rig) {
    let rig = rig.with_epoch().await;
    rig.fill(fill(&key(1), "v1", 10)).await;
    rig.apply(batch(10, 11, vec![Subject::Everything])).await;
    assert_eq!(rig.found(&key(1)).await, None);
    assert_eq!(rig.fill(fill(&key(7), "v1", 10)).await, refused(Refusal::Floor));
    assert_eq!(rig.fill(fill(&key(7), "v2", 11)).await, Verdict::Accept);
}

async fn race_20_expired_lease_taken_over(rig: Rig) {
    let rig = rig.with_epoch().await;
    let dead = rig.lead(&key(1), Duration::from_millis(30)).await;
    rig.pass(Duration::from_millis(60)).await;
    let next = rig.lead(&key(1), LONG).await;
    assert_ne!(dead, next);
    assert_eq!(rig.fill(leased(&key(1), "v1", 10, next)).await, Verdict::Accept);
}

async fn race_20_fill_after_takeover_refused(rig: Rig) {
    let rig = rig.with_epoch().await;
    let slow = rig.lead(&key(1), Duration::from_millis(30)).await;
    rig.pass(Duration::from_millis(60)).await;
    let next = rig.lead(&key(1), LONG).await;
    assert!(!rig.tier.renew(&key(1), slow, LONG).await.expect("renew"));
    rig.tier.release(&key(1), slow).await.expect("release");
    assert_eq!(rig.fill(leased(&key(1), "v1", 10, slow)).await, refused(Refusal::Lease));
    assert!(rig.waits(&key(1)).await, "the new lease is unchanged");
    assert_eq!(rig.fill(leased(&key(1), "v2", 10, next)).await, Verdict::Accept);
    assert_eq!(rig.found(&key(1)).await, Some(entry("v2", 10)));
}

async fn expired_lease_still_fills(rig: Rig) {
    let rig = rig.with_epoch().await;
    let slow = rig.lead(&key(1), Duration::from_millis(30)).await;
    rig.pass(Duration::from_millis(60)).await;
    assert!(!rig.tier.renew(&key(1), slow, LONG).await.expect("renew"), "it ran out");
    assert_eq!(rig.fill(leased(&key(1), "v1", 10, slow)).await, Verdict::Accept);
}

async fn race_21_older_position_shown(rig: Rig) {
    let rig = rig.with_epoch().await;
    rig.apply(batch(10, 30, vec![])).await;
    // The feed finds the tier at an older position and resets the epoch there.
    rig.tier.reset_epoch(NEXT, Lsn(20), Lsn(20)).await.expect("reset");
    let position = rig.read(&key(1)).await.position.expect("an epoch");
    assert_eq!((position.epoch, position.applied), (NEXT, Lsn(20)));
    let ahead = Batch { epoch: NEXT, ..batch(30, 31, vec![]) };
    let gap = rig.tier.apply(&ahead).await.expect("apply");
    assert_eq!(gap, Err(Gap::Missing { applied: Lsn(20), prev: Lsn(30) }));
}

async fn one_lease_others_wait(rig: Rig) {
    let rig = rig.with_epoch().await;
    let token = rig.lead(&key(1), LONG).await;
    assert!(rig.waits(&key(1)).await);
    assert!(matches!(rig.read(&key(1)).await.outcome, Outcome::Miss), "no lease was asked for");
    assert!(rig.tier.renew(&key(1), token, LONG).await.expect("renew"));
    rig.tier.release(&key(1), token).await.expect("release");
    let token = rig.lead(&key(1), LONG).await;
    assert_eq!(rig.fill(leased(&key(1), "v1", 9, token)).await, refused(Refusal::Floor));
    let token = rig.lead(&key(1), LONG).await;
    assert_eq!(rig.fill(leased(&key(1), "v1", 10, token)).await, Verdict::Accept);
    rig.tier.evict(&[Subject::Key(key(1))]).await.expect("evict");
    rig.lead(&key(1), LONG).await;
}

async fn epoch_reset_voids_leases(rig: Rig) {
    let rig = rig.with_epoch().await;
    let old = rig.lead(&key(1), LONG).await;
    rig.tier.reset_epoch(NEXT, Lsn(20), Lsn(20)).await.expect("reset");
    assert!(!rig.tier.renew(&key(1), old, LONG).await.expect("renew"));
    let new = rig.lead(&key(1), LONG).await;
    assert_eq!(rig.fill(leased(&key(1), "v1", 20, old)).await, refused(Refusal::Epoch));
    let fresh = Fill { epoch: NEXT, ..leased(&key(1), "v2", 20, new) };
    assert_eq!(rig.fill(fresh).await, Verdict::Accept);
}

async fn heartbeat_moves_positions(rig: Rig) {
    let rig = rig.with_epoch().await;
    let events = Vec::new();
    let beat = Batch {
        epoch: EPOCH,
        prev: Lsn(10),
        upto: Lsn(20),
        watermark: Lsn(15),
        coverage: CoverageDigest::NONE,
        events,
    };
    rig.apply(beat).await;
    let at = position(20, 15);
    assert_eq!(rig.tier.position().await.expect("a position"), Some(at));
}

async fn positions_never_decrease(rig: Rig) {
    let rig = rig.with_epoch().await;
    rig.apply(batch(10, 20, vec![])).await;
    rig.apply(batch(5, 12, vec![])).await;
    let at = position(20, 20);
    assert_eq!(rig.tier.position().await.expect("a position"), Some(at));
}

async fn collection_raises_the_floor(rig: Rig) {
    let rig = rig.with_epoch().await;
    rig.fill(fill(&key(3), "v1", 10)).await;
    rig.apply(batch(10, 11, vec![Subject::Key(key(1))])).await;
    rig.apply(batch(11, 12, vec![Subject::Tag(tag(1))])).await;
    assert_eq!(rig.tier.collect(Lsn(11)).await.expect("collect"), 1);
    assert_eq!(rig.fill(fill(&key(1), "v1", 10)).await, refused(Refusal::Floor));
    assert_eq!(rig.fill(tagged(&key(1), "v1", 11, &[tag(1)])).await, refused(Refusal::Tombstone));
    assert_eq!(rig.found(&key(3)).await, None, "its validity is unknown");
    assert_eq!(rig.tier.collect(Lsn(99)).await.expect("collect"), 1, "never past W");
    assert_eq!(rig.fill(fill(&key(1), "v2", 12)).await, Verdict::Accept);
    assert_eq!(rig.tier.collect(Lsn(99)).await.expect("collect"), 0);
}

async fn floor_replaces_oldest_tombstones(rig: Rig) {
    let rig = rig.with_epoch().await;
    assert_eq!(rig.tier.trim_tombstones().await.expect("room"), 0);
    // One commit of many keys, then 100 commits of one key each.
    let many = TOMBSTONES as u32 - 100;
    rig.apply(batch(10, 11, (0..many).map(numbered).collect())).await;
    for n in 0..100 {
        let at = 11 + u64::from(n);
        rig.apply(batch(at, at + 1, vec![numbered(many + n)])).await;
    }
    rig.fill(fill(&key(1), "v1", 11)).await;
    rig.fill(fill(&key(2), "v1", 111)).await;
    assert_eq!(rig.tier.trim_tombstones().await.expect("room"), 0, "not more than the limit");
    rig.apply(batch(111, 112, (0..many).map(numbered).collect())).await;
    rig.apply(batch(112, 113, vec![numbered(TOMBSTONES as u32)])).await;
    rig.apply(batch(113, 114, vec![numbered(TOMBSTONES as u32 + 1)])).await;
    assert_eq!(rig.tier.trim_tombstones().await.expect("room"), 2, "the oldest go");
    assert_eq!(rig.tier.trim_tombstones().await.expect("room"), 0);
    // Those of the commits at 12 and 13.
    assert_eq!(rig.found(&key(1)).await, None, "its validity is unknown");
    assert_eq!(rig.found(&key(2)).await, Some(entry("v1", 111)));
    assert_eq!(rig.fill(fill(&key(3), "v1", 12)).await, refused(Refusal::Floor));
    assert_eq!(rig.fill(fill(&key(3), "v1", 13)).await, Verdict::Accept);
    let Subject::Key(invalidated) = numbered(many + 2) else { unreachable!("it is a key") };
    assert_eq!(rig.fill(fill(&invalidated, "v1", 13)).await, refused(Refusal::Tombstone));
}

async fn eviction_raises_no_tombstone(rig: Rig) {
    let rig = rig.with_epoch().await;
    let before = rig.tier.position().await.expect("a position");
    for subject in [Subject::Key(key(1)), Subject::Tag(tag(1)), Subject::Everything] {
        rig.fill(tagged(&key(1), "v1", 10, &[tag(1)])).await;
        assert!(rig.found(&key(1)).await.is_some());
        rig.tier.evict(std::slice::from_ref(&subject)).await.expect("evict");
        assert_eq!(rig.found(&key(1)).await, None, "{subject}");
        let in_flight = tagged(&key(1), "v1", 10, &[tag(1)]);
        assert_eq!(rig.fill(in_flight).await, Verdict::Accept, "{subject}");
    }
    assert_eq!(rig.tier.position().await.expect("a position"), before);
}

async fn tag_eviction_leaves_later_entries(rig: Rig) {
    let rig = rig.with_epoch().await;
    rig.fill(tagged(&key(1), "v1", 10, &[tag(1)])).await;
    rig.fill(tagged(&key(2), "v1", 10, &[tag(2)])).await;
    rig.tier.evict(&[Subject::Tag(tag(1))]).await.expect("evict");
    rig.fill(tagged(&key(3), "v1", 10, &[tag(1)])).await;
    assert_eq!(rig.found(&key(1)).await, None);
    assert!(rig.found(&key(2)).await.is_some());
    assert!(rig.found(&key(3)).await.is_some());
}

async fn uncacheable_stored_without_data(rig: Rig) {
    let rig = rig.with_epoch().await;
    let mut memory = fill(&key(1), "", 10);
    memory.entry.content = Content::Uncacheable;
    assert_eq!(rig.fill(memory.clone()).await, Verdict::Accept);
    assert_eq!(rig.found(&key(1)).await, Some(memory.entry));
}

async fn stream_delivers_in_order(rig: Rig) {
    let rig = rig.with_epoch().await;
    let mut stream = rig.subscribed().await;
    let mut second = rig.subscribed().await;
    let subjects = vec![Subject::Key(key(1)), Subject::Tag(tag(1)), Subject::Everything];
    let first = batch(10, 11, subjects.clone());
    rig.apply(first.clone()).await;
    rig.tier.apply(&batch(99, 100, vec![])).await.expect("apply").expect_err("a gap");
    rig.tier.evict(&subjects).await.expect("evict");
    rig.apply(batch(11, 12, vec![])).await;
    rig.tier.reset_epoch(NEXT, Lsn(50), Lsn(40)).await.expect("reset");
    for stream in [&mut stream, &mut second] {
        assert_eq!(next_batch(stream).await, first);
        assert!(matches!(next(stream).await, NodeMessage::Evict(evicted) if evicted == subjects));
        assert_eq!(next_batch(stream).await, batch(11, 12, vec![]));
        let (at, watermark, events) = (Lsn(50), Lsn(40), vec![]);
        let start = Batch {
            epoch: NEXT,
            prev: at,
            upto: at,
            watermark,
            coverage: CoverageDigest::NONE,
            events,
        };
        assert_eq!(next_batch(stream).await, start);
    }
}

async fn commit_renews_stored_entries(rig: Rig) {
    let rig = rig.with_epoch().await;
    let mut stream = rig.subscribed().await;
    let subjects = || (1..=4).map(|n| Subject::Key(key(n))).collect();
    for stored in [key(1), key(2), key(4)] {
        rig.fill(fill(&stored, "v1", 10)).await;
    }
    let renewals = vec![
        renewal(&key(1), Some("{\"v\":2}"), &[tag(0)]),
        renewal(&key(2), None, &[]),
        renewal(&key(3), Some("{\"v\":2}"), &[]),
    ];
    let commit = renewing(batch(10, 11, subjects()), renewals);
    rig.apply(commit.clone()).await;
    let renewed = rig.found(&key(1)).await.expect("it was stored");
    let Content::Present(Value { head, body }) = &renewed.content else { panic!("{renewed:?}") };
    assert_eq!((&head[..], &body[..]), (&b""[..], &b"{\"v\":2}"[..]));
    assert_eq!((renewed.tau, &renewed.tags[..]), (Lsn(11), &[tag(0)][..]));
    let gone = rig.found(&key(2)).await.expect("its absence is proven");
    assert_eq!((gone.content, gone.tau), (Content::Absent, Lsn(11)));
    assert_eq!(rig.found(&key(3)).await, None, "a key without an entry is not filled");
    assert_eq!(rig.found(&key(4)).await, None, "a key without a value in the commit is removed");
    assert_eq!(next_batch(&mut stream).await, commit, "the other nodes receive it too");
}

async fn renewal_obeys_the_fill_rule(rig: Rig) {
    let rig = rig.with_epoch().await;
    let subjects = || vec![Subject::Key(key(1))];
    let renewed_with = |tags: &[Tag]| vec![renewal(&key(1), Some("{}"), tags)];
    // A later commit in the same batch names its tag.
    rig.fill(fill(&key(1), "v1", 10)).await;
    let mut commit = renewing(batch(10, 12, subjects()), renewed_with(&[tag(0)]));
    commit.events[0].lsn = Lsn(11);
    commit.events.extend(batch(10, 12, vec![Subject::Tag(tag(0))]).events);
    rig.apply(commit).await;
    assert_eq!(rig.found(&key(1)).await, None);
    // An older commit, delivered again, leaves a newer value alone.
    rig.fill(fill(&key(1), "v2", 12)).await;
    let mut again = renewing(batch(10, 12, subjects()), renewed_with(&[]));
    again.events[0].lsn = Lsn(11);
    rig.apply(again).await;
    assert_eq!(rig.found(&key(1)).await, Some(entry("v2", 12)));
    // An evicted entry is not renewed.
    rig.fill(tagged(&key(1), "v3", 12, &[tag(1)])).await;
    rig.tier.evict(&[Subject::Tag(tag(1))]).await.expect("evict");
    rig.apply(renewing(batch(12, 13, subjects()), renewed_with(&[]))).await;
    assert_eq!(rig.found(&key(1)).await, None);
}

async fn large_commit_arrives_whole(rig: Rig) {
    let rig = rig.with_epoch().await;
    let mut stream = rig.subscribed().await;
    let names = |lsn: u64, count: u32| Event {
        lsn: Lsn(lsn),
        cause: Cause::Commit,
        committed_us: 0,
        subjects: (0..count).map(|n| format!("k:v1:s:e:{n}").parse().expect("a key")).collect(),
        renewals: Vec::new(),
    };
    let Subject::Key(last) = names(0, 2_500).subjects.remove(2_499) else { panic!("no key") };
    rig.fill(fill(&last, "v1", 10)).await;
    let big = Batch { events: vec![names(11, 10), names(12, 2_500)], ..batch(10, 12, vec![]) };
    rig.apply(big).await;
    assert_eq!(rig.found(&last).await, None);
    assert_eq!(rig.fill(fill(&last, "v1", 11)).await, refused(Refusal::Tombstone));
    let (mut at, mut subjects) = (Lsn(10), 0);
    while subjects < 2_510 {
        let chunk = next_batch(&mut stream).await;
        assert_eq!(chunk.prev, at, "chunks chain");
        at = chunk.upto;
        subjects += chunk.events.iter().map(|event| event.subjects.len()).sum::<usize>();
        assert_eq!(at == Lsn(12), subjects == 2_510, "12 is reached with its last subject");
    }
    assert_eq!((at, subjects), (Lsn(12), 2_510));
}

async fn slow_subscriber_receives_lost(rig: Rig) {
    let rig = rig.with_epoch().await;
    let mut stream = rig.subscribed().await;
    let publish = async |from: u64, upto: u64| {
        for at in from..upto {
            rig.apply(batch(at, at + 1, vec![])).await;
        }
    };
    // More than any tier keeps for it. (The length of a stream in Redis is a lower limit.)
    publish(10, 13_000).await;
    let mut at = Lsn(10);
    loop {
        match next(&mut stream).await {
            NodeMessage::Batch(batch) if batch.prev == at => at = batch.upto,
            NodeMessage::Lost => break,
            other => panic!("{other:?} follows {at:?} without a word"),
        }
    }
    let now = rig.tier.position().await.expect("a position").expect("an epoch").applied;
    assert_eq!(now, Lsn(13_000));
    publish(13_000, 13_001).await;
    assert_eq!(next_batch(&mut stream).await.upto, Lsn(13_001), "served again");
}
