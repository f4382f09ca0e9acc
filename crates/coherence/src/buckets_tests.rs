use std::collections::BTreeMap;

use contract::{Key, Tag};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;
use crate::event::{Batch, Cause, Event, Subject};
use crate::fence::{Fence, Offer, Verdict};
use crate::recent::Recent;

const EPOCH: Epoch = Epoch { system: 1, timeline: 1, server: 1, incarnation: 1 };
const OTHER: Epoch = Epoch { incarnation: 2, ..EPOCH };
/// Of which the first publishes.
const BUCKETS: usize = 3;
const KEYS: u8 = 6;

fn at(epoch: Epoch, applied: u64) -> Shown {
    Shown::At { epoch, applied: Lsn(applied), watermark: Lsn(applied) }
}

#[test]
fn the_tier_stands_where_its_last_bucket_of_the_same_history_does() {
    let stands =
        |buckets: &[Shown]| standing(buckets).map(|(epoch, applied, _)| (epoch, applied.0));
    assert_eq!(stands(&[at(EPOCH, 9), at(EPOCH, 7), at(EPOCH, 8)]), Some((EPOCH, 7)));
    assert_eq!(stands(&[at(EPOCH, 9), Shown::Away, Shown::Void, at(OTHER, 1)]), Some((EPOCH, 9)));
    assert_eq!(stands(&[Shown::Void, at(EPOCH, 9)]), None);
    assert_eq!(stands(&[Shown::Away, at(EPOCH, 9)]), None);
    assert_eq!(stands(&[]), None);
}

#[test]
fn marks_that_are_gone_come_before_marks_that_are_missing() {
    let missing = |applied| Err(Gap::Missing { applied: Lsn(applied), prev: Lsn(9) });
    assert_eq!(verdict([Ok(()), Ok(())]), Ok(()));
    assert_eq!(verdict([missing(7), Ok(()), missing(5), missing(6)]), missing(5));
    for gone in [Gap::Unproven, Gap::Epoch { tier: OTHER }] {
        assert_eq!(verdict([missing(7), Err(gone), missing(5)]), Err(gone));
    }
}

/// One bucket: its fence, and what is stored beside it.
#[derive(Clone, Default)]
struct Bucket {
    fence: Fence,
    entries: BTreeMap<Key, Lsn>,
}

impl Bucket {
    fn shown(&self) -> Shown {
        let (applied, watermark) = (self.fence.applied(), self.fence.watermark());
        self.fence.epoch().map_or(Shown::Void, |epoch| Shown::At { epoch, applied, watermark })
    }

    fn begin(&mut self, epoch: Epoch, at: Lsn, without: Without) {
        self.entries.clear();
        if without == Without::Floor {
            self.fence.incarnate(epoch, Lsn::ZERO, Lsn::ZERO);
            let (prev, watermark, events) = (Lsn::ZERO, Lsn::ZERO, Vec::new());
            let upto = Batch { epoch, prev, upto: at, watermark, events };
            self.fence.apply(&upto).expect("from the beginning");
        } else {
            self.fence.incarnate(epoch, at, Lsn::ZERO);
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// A commit on a key, or on the tag of all keys.
    Commit(Option<u8>),
    /// The log is told, to those buckets that can be reached.
    Tell {
        reached: [bool; BUCKETS],
    },
    /// A value is stored that was read `age` commits before the log's end.
    Fill {
        key: u8,
        age: u64,
    },
    Flush(usize),
    /// What a replica has that will be promoted.
    Keep(usize),
    Promote(usize),
    /// The leader has forgotten what it told.
    Forget,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let bucket = || 0..BUCKETS;
    let step = prop_oneof![
        8 => proptest::option::weighted(0.8, 0..KEYS).prop_map(Step::Commit),
        8 => any::<[bool; BUCKETS]>().prop_map(|reached| Step::Tell { reached }),
        12 => (0..KEYS, 0..4_u64).prop_map(|(key, age)| Step::Fill { key, age }),
        1 => bucket().prop_map(Step::Flush),
        2 => bucket().prop_map(Step::Keep),
        2 => bucket().prop_map(Step::Promote),
        1 => Just(Step::Forget),
    ];
    proptest::collection::vec(step, 1..80)
}

/// What may be left out, to see that the tests below notice.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Without {
    Nothing,
    /// A bucket's answer is proven by its own position, not by the tier's.
    OwnPosition,
    /// A bucket that begins anew takes nothing that was read before.
    Floor,
    /// The bucket that publishes is told last.
    FirstComesLast,
}

struct World {
    without: Without,
    /// The commits, at 11, 12, …
    log: Vec<Subject>,
    buckets: Vec<Bucket>,
    kept: Vec<Bucket>,
    recent: Recent,
    epoch: Epoch,
    /// How far the leader has told the log.
    told: u64,
    /// What a node knows that follows the stream.
    node: Fence,
    /// Whether it has ever heard what a bucket that could be reached had not.
    told_early: bool,
}

fn key(n: u8) -> Key {
    Key::parse(&format!("v1:a:b:{n}")).expect("a key")
}

fn bucket_of(n: u8) -> usize {
    usize::from(n) % BUCKETS
}

fn tags() -> [Tag; 1] {
    [Tag::parse("all").expect("a tag")]
}

impl World {
    fn new(without: Without) -> Self {
        let mut begun = Bucket::default();
        begun.begin(EPOCH, Lsn(10), Without::Nothing);
        let buckets = vec![begun.clone(); BUCKETS];
        let (kept, node) = (buckets.clone(), begun.fence);
        let recent = Recent::new(1_000);
        Self {
            without,
            log: Vec::new(),
            buckets,
            kept,
            recent,
            epoch: EPOCH,
            told: 10,
            node,
            told_early: false,
        }
    }

    fn end(&self) -> u64 {
        10 + self.log.len() as u64
    }

    /// To those that are reached, the first one last; answers what the leader hears.
    fn apply(&mut self, batch: &Batch, reached: [bool; BUCKETS]) -> Option<Result<(), Gap>> {
        if self.without == Without::FirstComesLast
            && let Some(Err(gap)) = self.publish(batch, reached)
        {
            return Some(Err(gap));
        }
        let rest = self.buckets.iter_mut().zip(reached).skip(1).filter(|(_, reached)| *reached);
        let met: Vec<_> = rest.map(|(bucket, _)| bucket.fence.apply(batch)).collect();
        match verdict(met) {
            Ok(()) => self.publish(batch, reached),
            gap => Some(gap),
        }
    }

    fn publish(&mut self, batch: &Batch, reached: [bool; BUCKETS]) -> Option<Result<(), Gap>> {
        let applied = reached[0].then(|| self.buckets[0].fence.apply(batch))?;
        if applied.is_ok() {
            self.node.follow(batch, true);
            let mut rest = self.buckets.iter().zip(reached).skip(1);
            let behind = |bucket: &Bucket| bucket.fence.applied() < batch.upto;
            self.told_early |= rest.any(|(bucket, reached)| reached && behind(bucket));
        }
        Some(applied)
    }

    fn mend(&mut self, at: Lsn, reached: [bool; BUCKETS]) -> bool {
        let same =
            matches!(self.buckets[0].shown(), Shown::At { epoch, .. } if epoch == self.epoch);
        let rest = self.buckets.iter_mut().zip(reached).skip(1);
        let lost = rest.filter(|(bucket, reached)| {
            same && *reached && is_lost(bucket.shown(), self.epoch, at)
        });
        lost.map(|(bucket, _)| bucket.begin(self.epoch, at, self.without)).count() > 0
    }

    fn tell_again(&mut self, gap: Gap, batch: &Batch, reached: [bool; BUCKETS]) -> bool {
        let Gap::Missing { applied, .. } = gap else { return false };
        let Some(missing) = self.recent.since(self.epoch, applied) else { return false };
        let missing: Vec<_> = missing.chain([batch]).cloned().collect();
        missing.iter().all(|batch| self.apply(batch, reached) == Some(Ok(())))
    }

    /// As the leader does it; false: it will try again.
    fn tell(&mut self, reached: [bool; BUCKETS]) -> bool {
        let (prev, upto) = (Lsn(self.told), Lsn(self.end()));
        let commits = self.log.iter().enumerate().skip(self.told as usize - 10);
        let events = commits.map(|(n, subject)| Event {
            lsn: Lsn(11 + n as u64),
            cause: Cause::Commit,
            committed_us: 0,
            subjects: vec![subject.clone()],
            renewals: Vec::new(),
        });
        let mut batch =
            Batch { epoch: self.epoch, prev, upto, watermark: upto, events: events.collect() };
        let told = match self.apply(&batch, reached) {
            None => return false,
            Some(Ok(())) => true,
            Some(Err(gap)) => {
                self.tell_again(gap, &batch, reached)
                    || self.mend(prev, reached) && self.apply(&batch, reached) == Some(Ok(()))
            }
        };
        if !told {
            if !reached[0] {
                return false;
            }
            self.epoch = Epoch { incarnation: self.epoch.incarnation + 1, ..self.epoch };
            batch.epoch = self.epoch;
            for n in (0..BUCKETS).filter(|n| reached[*n]) {
                self.buckets[n].begin(self.epoch, prev, self.without);
            }
            self.node.incarnate(self.epoch, prev, Lsn::ZERO);
            if self.apply(&batch, reached) != Some(Ok(())) {
                return false;
            }
        }
        self.recent.push(&batch);
        self.told = upto.0;
        true
    }

    fn run(&mut self, step: &Step) {
        match *step {
            Step::Commit(Some(n)) => self.log.push(Subject::Key(key(n))),
            Step::Commit(None) => self.log.push(Subject::Tag(tags()[0].clone())),
            Step::Tell { reached } => drop(self.tell(reached)),
            Step::Fill { key: n, age } => {
                // Within what the bucket's watermark was: commits up to τ are visible to the read.
                let tau = Lsn(self.end().saturating_sub(age).max(10));
                let bucket = &mut self.buckets[bucket_of(n)];
                let (key, tags) = (key(n), tags());
                let stored = bucket.entries.get(&key).copied();
                let stored = stored.filter(|tau| bucket.fence.stands(&key, &tags, *tau));
                let offer = Offer { key: &key, tags: &tags, tau, epoch: self.epoch, stored };
                if bucket.fence.admit(offer) == Verdict::Accept {
                    bucket.entries.insert(key, tau);
                }
            }
            Step::Flush(n) => self.buckets[n] = Bucket::default(),
            Step::Keep(n) => self.kept[n] = self.buckets[n].clone(),
            Step::Promote(n) => self.buckets[n] = self.kept[n].clone(),
            Step::Forget => self.recent.clear(),
        }
    }

    /// No entry that stands misses a commit that its own bucket has applied.
    fn check(&self) -> Result<(), TestCaseError> {
        let tags = tags();
        for bucket in &self.buckets {
            let Shown::At { mut applied, .. } = bucket.shown() else { continue };
            if self.without == Without::OwnPosition {
                applied = self.node.applied();
            }
            for (key, tau) in &bucket.entries {
                if !bucket.fence.stands(key, &tags, *tau) {
                    continue;
                }
                for (n, subject) in self.log.iter().enumerate() {
                    let lsn = Lsn(11 + n as u64);
                    let missed = *tau < lsn && lsn <= applied && subject.concerns(key, &tags);
                    prop_assert!(!missed, "{key} of {tau} misses {lsn}, applied {applied}");
                }
            }
        }
        Ok(())
    }
}

fn runner() -> TestRunner {
    TestRunner::new(Config { cases: 300, failure_persistence: None, ..Config::default() })
}

/// Whatever becomes of single buckets (away, flushed, replaced by an older copy) while the log goes on: no
/// bucket's answer misses what that bucket shows to have applied, and once all can be reached they
/// stand where the log ends.
fn answer_for_themselves(without: Without, steps: &[Step]) -> Result<(), TestCaseError> {
    let mut world = World::new(without);
    for step in steps {
        world.run(step);
        world.check()?;
    }
    for _ in 0..2 {
        world.run(&Step::Commit(None));
        prop_assert!(world.tell([true; BUCKETS]), "all are there");
        world.check()?;
    }
    let end = Lsn(world.end());
    let shown: Vec<_> = world.buckets.iter().map(Bucket::shown).collect();
    prop_assert!(!shown.iter().any(|bucket| is_lost(*bucket, world.epoch, end)), "{shown:?}");
    prop_assert_eq!(standing(&shown), Some((world.epoch, end, end)));
    Ok(())
}

/// What the stream has told, every bucket that could be reached has taken.
fn told_before_the_nodes(without: Without, steps: &[Step]) -> Result<(), TestCaseError> {
    let mut world = World::new(without);
    steps.iter().for_each(|step| world.run(step));
    prop_assert!(!world.told_early);
    Ok(())
}

#[test]
fn race_17_21_buckets_that_come_and_go_answer_for_themselves() {
    let seen = runner().run(&steps(), |steps| answer_for_themselves(Without::Nothing, &steps));
    assert!(seen.is_ok(), "{}", seen.unwrap_err());
}

#[test]
fn race_11_nobody_hears_of_a_batch_before_the_buckets_have_it() {
    let seen = runner().run(&steps(), |steps| told_before_the_nodes(Without::Nothing, &steps));
    assert!(seen.is_ok(), "{}", seen.unwrap_err());
}

/// These tests can fail: without any one of the rules there is a counterexample.
#[test]
fn no_rule_of_the_buckets_can_be_left_out() {
    for without in [Without::OwnPosition, Without::Floor] {
        let seen = runner().run(&steps(), |steps| answer_for_themselves(without, &steps));
        assert!(seen.is_err(), "{without:?}");
    }
    let without = Without::FirstComesLast;
    let seen = runner().run(&steps(), |steps| told_before_the_nodes(without, &steps));
    assert!(seen.is_err(), "{without:?}");
}
