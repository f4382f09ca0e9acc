use proptest::prelude::*;

use super::*;
use crate::event::{Batch, Cause, Event, Subject};
use crate::tier::coverage::CoverageDigest;
use crate::tier::fence::{Offer, Refusal, Verdict};

const EPOCH: Epoch = Epoch { system: 1, timeline: 1, server: 1, incarnation: 1 };

fn key() -> Key {
    Key::parse("v1:catalog:price:1").expect("a key")
}

fn at(upto: u64) -> Replayed {
    Replayed { log: EPOCH.log().lineage(), upto: Lsn(upto) }
}

fn required(key: &Key, since: u64) -> ReadRequirement<'_> {
    ReadRequirement { key, tags: &[], epoch: EPOCH, token: None, since: Mono(since) }
}

/// A tier that has applied a commit on the key at each of these positions.
fn fence(commits: &[u64]) -> Fence {
    let mut fence = Fence::default();
    fence.reset_epoch(EPOCH, Lsn(0), Lsn(0));
    let mut prev = Lsn(0);
    for lsn in commits {
        let upto = Lsn(*lsn);
        let subjects = vec![Subject::Key(key())];
        let (cause, renewals) = (Cause::Commit, Vec::new());
        let event = Event { lsn: upto, cause, committed_us: 0, subjects, renewals };
        let batch = Batch {
            epoch: EPOCH,
            prev,
            upto,
            watermark: upto,
            coverage: CoverageDigest::NONE,
            events: vec![event],
        };
        fence.apply(&batch).expect("in order");
        prev = upto;
    }
    fence
}

/// Samples: at each of these times the primary was asked for the end of its log.
fn bound(samples: &[(u64, u64)]) -> Bound {
    let mut bound = Bound::new(32);
    for (asked, end) in samples {
        bound.sample_of(EPOCH.log().run(), Mono(*asked), Lsn(*end));
    }
    bound
}

#[test]
fn race_05_lagging_standby_fill_rejected() {
    let (fence, key) = (fence(&[20]), key());
    let offer = |tau| Offer { key: &key, tags: &[], tau, epoch: EPOCH, stored: None };
    let (lagging, watermark) = (at(19), fence.watermark());
    assert_eq!(watermark, Lsn(20), "the primary shows the commit");
    let tau = lagging.token(watermark);
    assert_eq!(fence.admit(offer(tau)), Verdict::Refuse(Refusal::Tombstone));
    assert_eq!(fence.admit(offer(at(20).token(watermark))), Verdict::Accept);
}

#[test]
fn race_05_answer_age_follows_position() {
    let (key, nothing) = (key(), fence(&[]));
    let bound = bound(&[(100, 10), (200, 20), (300, 30)]);
    assert_eq!(at(25).serves(required(&key, 150), &nothing, &bound), Ok(Mono(200)));
    assert_eq!(at(25).serves(required(&key, 201), &nothing, &bound), Err(Rejection::Bound));
    assert_eq!(
        at(5).serves(required(&key, 0), &nothing, &bound),
        Err(Rejection::Bound),
        "no sample proves it"
    );
}

#[test]
fn invalidated_answer_rejected() {
    let (key, fence) = (key(), fence(&[20]));
    let bound = bound(&[(100, 10), (200, 20)]);
    assert_eq!(at(19).serves(required(&key, 50), &fence, &bound), Err(Rejection::Overtaken));
    assert_eq!(at(20).serves(required(&key, 50), &fence, &bound), Ok(Mono(200)));
}

#[test]
fn answer_without_own_write_rejected() {
    let (key, nothing) = (key(), fence(&[]));
    let bound = bound(&[(100, 10)]);
    let token = Some(CausalToken::new(Some(EPOCH.log()), Lsn(12)));
    let required = ReadRequirement { token, ..required(&key, 0) };
    assert_eq!(at(11).serves(required, &nothing, &bound), Err(Rejection::Token));
    assert_eq!(at(12).serves(required, &nothing, &bound), Ok(Mono(100)));
}

#[test]
fn standby_of_other_log_rejected() {
    let (key, nothing) = (key(), fence(&[]));
    let bound = bound(&[(100, 10)]);
    for log in [Log { timeline: 2, ..at(0).log }, Log { system: 2, ..at(0).log }] {
        let other = Replayed { log, upto: Lsn(99) };
        assert_eq!(other.serves(required(&key, 0), &nothing, &bound), Err(Rejection::Log));
    }
    // A restart of the primary does not change the log.
    let restarted = Replayed { log: Log { server: 7, ..at(0).log }, upto: Lsn(99) };
    assert!(restarted.serves(required(&key, 0), &nothing, &bound).is_ok());
}

proptest! {
    /// Commits 1 to 16, some of them on the key, are acknowledged at their times. The standby has
    /// replayed some when it reports its position, more when it reads; the tier has applied some; the
    /// primary was sampled at some times. In every combination an answer holds every commit that was
    /// acknowledged before its proven time, and a stored fill misses no commit that its tier has
    /// applied.
    #[test]
    fn standby_answer_bound_is_true(
        on_key in prop::collection::vec(any::<bool>(), 16),
        gaps in prop::collection::vec(1_u64..20, 16),
        asked in prop::collection::btree_set(0_u64..200, 0..8),
        (reported, read) in (0_u64..17, 0_u64..17),
        applied in 0_u64..17,
        since in 0_u64..200,
    ) {
        let read = read.max(reported);
        let acked: Vec<u64> = gaps.iter().scan(0, |t, gap| { *t += gap; Some(*t) }).collect();
        let samples: Vec<(u64, u64)> = asked
            .into_iter()
            .map(|at| (at, acked.iter().filter(|t| **t < at).count() as u64))
            .collect();
        let relevant = |upto: u64| (1..=upto).filter(|n| on_key[*n as usize - 1]).max().unwrap_or(0);
        let events: Vec<u64> = (1..=applied).filter(|n| on_key[*n as usize - 1]).collect();
        let (fence, bound, key) = (fence(&events), bound(&samples), key());
        let included = relevant(read);
        if let Ok(as_of) = at(reported).serves(required(&key, since), &fence, &bound) {
            prop_assert!(as_of >= Mono(since));
            let owed = acked.iter().filter(|t| Mono(**t) < as_of).count() as u64;
            prop_assert!(included >= relevant(owed), "misses a commit acknowledged before {as_of:?}");
            prop_assert!(included >= relevant(applied), "misses a commit that this node has applied");
        }
        let tau = at(reported).token(Lsn(applied));
        let offer = Offer { key: &key, tags: &[], tau, epoch: EPOCH, stored: None };
        if fence.admit(offer) == Verdict::Accept {
            prop_assert!(included >= relevant(applied), "stored, and misses an applied commit");
        }
    }
}
