use proptest::prelude::*;

use super::*;
use crate::event::{Batch, Cause, Event, Subject};
use crate::fence::{Offer, Refusal, Verdict};

const EPOCH: Epoch = Epoch { system: 1, timeline: 1, server: 1, incarnation: 1 };

fn key() -> Key {
    Key::parse("v1:catalog:price:1").expect("a key")
}

fn at(upto: u64) -> Replayed {
    Replayed { log: EPOCH.log().lineage(), upto: Lsn(upto) }
}

fn need(key: &Key, since: u64) -> Need<'_> {
    Need { key, tags: &[], epoch: EPOCH, after: None, since: Mono(since) }
}

/// A tier that has applied a commit on the key at each of these positions.
fn fence(commits: &[u64]) -> Fence {
    let mut fence = Fence::default();
    fence.incarnate(EPOCH, Lsn(0), Lsn(0));
    let mut prev = Lsn(0);
    for lsn in commits {
        let upto = Lsn(*lsn);
        let subjects = vec![Subject::Key(key())];
        let (cause, renewals) = (Cause::Commit, Vec::new());
        let event = Event { lsn: upto, cause, committed_us: 0, subjects, renewals };
        let batch = Batch { epoch: EPOCH, prev, upto, watermark: upto, events: vec![event] };
        fence.apply(&batch).expect("in order");
        prev = upto;
    }
    fence
}

/// The primary was asked at each of these times, and said that its log ends there.
fn bound(samples: &[(u64, u64)]) -> Bound {
    let mut bound = Bound::new(32);
    for (asked, end) in samples {
        bound.sample_of(EPOCH.log().lineage(), Mono(*asked), Lsn(*end));
    }
    bound
}

#[test]
fn race_05_a_refill_from_a_lagging_standby_is_not_stored_after_the_event() {
    let (fence, key) = (fence(&[20]), key());
    let offer = |tau| Offer { key: &key, tags: &[], tau, epoch: EPOCH, stored: None };
    let (lagging, watermark) = (at(19), fence.watermark());
    assert_eq!(watermark, Lsn(20), "the primary shows the commit");
    let tau = lagging.token(watermark);
    assert_eq!(fence.admit(offer(tau)), Verdict::Refuse(Refusal::Tombstone));
    assert_eq!(fence.admit(offer(at(20).token(watermark))), Verdict::Accept);
}

#[test]
fn race_05_an_answer_is_as_old_as_the_position_that_it_reaches() {
    let (key, nothing) = (key(), fence(&[]));
    let bound = bound(&[(100, 10), (200, 20), (300, 30)]);
    assert_eq!(at(25).serves(need(&key, 150), &nothing, &bound), Ok(Mono(200)));
    assert_eq!(at(25).serves(need(&key, 201), &nothing, &bound), Err(Unfit::Bound));
    assert_eq!(at(5).serves(need(&key, 0), &nothing, &bound), Err(Unfit::Bound), "no proof at all");
}

#[test]
fn what_this_node_knows_to_be_old_is_not_answered() {
    let (key, fence) = (key(), fence(&[20]));
    let bound = bound(&[(100, 10), (200, 20)]);
    assert_eq!(at(19).serves(need(&key, 50), &fence, &bound), Err(Unfit::Overtaken));
    assert_eq!(at(20).serves(need(&key, 50), &fence, &bound), Ok(Mono(200)));
}

#[test]
fn whoever_has_written_is_not_answered_without_the_write() {
    let (key, nothing) = (key(), fence(&[]));
    let bound = bound(&[(100, 10)]);
    let after = Some(After::new(Some(EPOCH.log()), Lsn(12)));
    let need = Need { after, ..need(&key, 0) };
    assert_eq!(at(11).serves(need, &nothing, &bound), Err(Unfit::Token));
    assert_eq!(at(12).serves(need, &nothing, &bound), Ok(Mono(100)));
}

#[test]
fn a_standby_of_another_log_answers_nothing() {
    let (key, nothing) = (key(), fence(&[]));
    let bound = bound(&[(100, 10)]);
    for log in [Log { timeline: 2, ..at(0).log }, Log { system: 2, ..at(0).log }] {
        let other = Replayed { log, upto: Lsn(99) };
        assert_eq!(other.serves(need(&key, 0), &nothing, &bound), Err(Unfit::Log));
    }
    // A restart of the primary is no other log.
    let restarted = Replayed { log: Log { server: 7, ..at(0).log }, upto: Lsn(99) };
    assert!(restarted.serves(need(&key, 0), &nothing, &bound).is_ok());
}

proptest! {
    /// Commits 1 to 16, some of them on the key, are acknowledged at their time. The standby has
    /// replayed some when it says so, more when it reads; the tier has applied some; the primary was
    /// asked now and then. Whatever of this is where: what is answered holds all that was acknowledged
    /// by the time it is shown as of, and what is stored misses nothing that its tier has applied.
    #[test]
    fn no_answer_is_older_than_it_shows_and_no_fill_misses_what_was_applied(
        on_key in prop::collection::vec(any::<bool>(), 16),
        gaps in prop::collection::vec(1_u64..20, 16),
        asked in prop::collection::btree_set(0_u64..200, 0..8),
        (said, read) in (0_u64..17, 0_u64..17),
        applied in 0_u64..17,
        since in 0_u64..200,
    ) {
        let read = read.max(said);
        let acked: Vec<u64> = gaps.iter().scan(0, |t, gap| { *t += gap; Some(*t) }).collect();
        let samples: Vec<(u64, u64)> = asked
            .into_iter()
            .map(|at| (at, acked.iter().filter(|t| **t < at).count() as u64))
            .collect();
        let relevant = |upto: u64| (1..=upto).filter(|n| on_key[*n as usize - 1]).max().unwrap_or(0);
        let events: Vec<u64> = (1..=applied).filter(|n| on_key[*n as usize - 1]).collect();
        let (fence, bound, key) = (fence(&events), bound(&samples), key());
        let held = relevant(read);
        if let Ok(as_of) = at(said).serves(need(&key, since), &fence, &bound) {
            prop_assert!(as_of >= Mono(since));
            let owed = acked.iter().filter(|t| Mono(**t) < as_of).count() as u64;
            prop_assert!(held >= relevant(owed), "misses a commit acknowledged before {as_of:?}");
            prop_assert!(held >= relevant(applied), "misses what this node has applied");
        }
        let tau = at(said).token(Lsn(applied));
        let offer = Offer { key: &key, tags: &[], tau, epoch: EPOCH, stored: None };
        if fence.admit(offer) == Verdict::Accept {
            prop_assert!(held >= relevant(applied), "stored, and misses what was applied");
        }
    }
}
