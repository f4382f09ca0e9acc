use std::collections::BTreeMap;

use contract::{Key, Tag};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;
use crate::event::{Batch, Cause, Event, Subject};
use crate::stream::replay_buffer::ReplayBuffer;
use crate::tier::coverage::CoverageDigest;
use crate::tier::fence::{Fence, Offer, Verdict};

const EPOCH: Epoch = Epoch { system: 1, timeline: 1, server: 1, incarnation: 1 };
const OTHER: Epoch = Epoch { incarnation: 2, ..EPOCH };
/// The first of them publishes.
const BUCKETS: usize = 3;
const KEYS: u8 = 6;

fn at(epoch: Epoch, applied: u64) -> BucketState {
    BucketState::At { epoch, applied: Lsn(applied), watermark: Lsn(applied) }
}

#[test]
fn standing_is_lowest_bucket_of_the_epoch() {
    let position =
        |buckets: &[BucketState]| standing(buckets).map(|(epoch, applied, _)| (epoch, applied.0));
    assert_eq!(position(&[at(EPOCH, 9), at(EPOCH, 7), at(EPOCH, 8)]), Some((EPOCH, 7)));
    assert_eq!(
        position(&[at(EPOCH, 9), BucketState::Unreachable, BucketState::Empty, at(OTHER, 1)]),
        Some((EPOCH, 9))
    );
    assert_eq!(position(&[BucketState::Empty, at(EPOCH, 9)]), None);
    assert_eq!(position(&[BucketState::Unreachable, at(EPOCH, 9)]), None);
    assert_eq!(position(&[]), None);
}

#[test]
fn lost_tombstones_precede_missing_batches() {
    let missing = |applied| Err(Gap::Missing { applied: Lsn(applied), prev: Lsn(9) });
    assert_eq!(worst_gap([Ok(()), Ok(())]), Ok(()));
    assert_eq!(worst_gap([missing(7), Ok(()), missing(5), missing(6)]), missing(5));
    for lost in [Gap::Unproven, Gap::Epoch { tier: OTHER }] {
        assert_eq!(worst_gap([missing(7), Err(lost), missing(5)]), Err(lost));
    }
}

/// One bucket: its fence and its entries.
#[derive(Clone, Default)]
struct Bucket {
    fence: Fence,
    entries: BTreeMap<Key, Lsn>,
}

impl Bucket {
    fn state(&self) -> BucketState {
        let (applied, watermark) = (self.fence.applied(), self.fence.watermark());
        self.fence.epoch().map_or(BucketState::Empty, |epoch| BucketState::At {
            epoch,
            applied,
            watermark,
        })
    }

    fn reset(&mut self, epoch: Epoch, at: Lsn, omitted: Omitted) {
        self.entries.clear();
        if omitted == Omitted::Floor {
            self.fence.reset_epoch(epoch, Lsn::ZERO, Lsn::ZERO);
            let (prev, watermark, events) = (Lsn::ZERO, Lsn::ZERO, Vec::new());
            let upto =
                Batch { epoch, prev, upto: at, watermark, coverage: CoverageDigest::NONE, events };
            self.fence.apply(&upto).expect("the batch begins at zero");
        } else {
            self.fence.reset_epoch(epoch, at, Lsn::ZERO);
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// A commit on a key, or on the tag of all keys.
    Commit(Option<u8>),
    /// The leader publishes the log to the reachable buckets.
    Publish {
        reached: [bool; BUCKETS],
    },
    /// A value is stored that was read `age` commits before the log's end.
    Fill {
        key: u8,
        age: u64,
    },
    Flush(usize),
    /// A replica copies a bucket's state.
    Copy(usize),
    Promote(usize),
    /// The leader loses its replay buffer.
    Forget,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let bucket = || 0..BUCKETS;
    let step = prop_oneof![
        8 => proptest::option::weighted(0.8, 0..KEYS).prop_map(Step::Commit),
        8 => any::<[bool; BUCKETS]>().prop_map(|reached| Step::Publish { reached }),
        12 => (0..KEYS, 0..4_u64).prop_map(|(key, age)| Step::Fill { key, age }),
        1 => bucket().prop_map(Step::Flush),
        2 => bucket().prop_map(Step::Copy),
        2 => bucket().prop_map(Step::Promote),
        1 => Just(Step::Forget),
    ];
    proptest::collection::vec(step, 1..80)
}

/// The rule that is omitted, to check that the tests below detect it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Omitted {
    None,
    /// An entry is proven by the position of its own bucket, not by the tier's.
    OwnPosition,
    /// A bucket that was reset refuses fills that were read before.
    Floor,
    /// The bucket that publishes applies a batch last.
    FirstAppliesLast,
}

struct World {
    omitted: Omitted,
    /// The commits, at 11, 12, …
    log: Vec<Subject>,
    buckets: Vec<Bucket>,
    copies: Vec<Bucket>,
    buffer: ReplayBuffer,
    epoch: Epoch,
    /// The position up to which the leader has published the log.
    published: u64,
    /// The state of a node that follows the stream.
    node: Fence,
    /// Whether the node ever received a batch before a reachable bucket had it.
    published_early: bool,
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
    fn new(omitted: Omitted) -> Self {
        let mut initial = Bucket::default();
        initial.reset(EPOCH, Lsn(10), Omitted::None);
        let buckets = vec![initial.clone(); BUCKETS];
        let (copies, node) = (buckets.clone(), initial.fence);
        let buffer = ReplayBuffer::new(1_000);
        Self {
            omitted,
            log: Vec::new(),
            buckets,
            copies,
            buffer,
            epoch: EPOCH,
            published: 10,
            node,
            published_early: false,
        }
    }

    fn end(&self) -> u64 {
        10 + self.log.len() as u64
    }

    /// Applies a batch to the reachable buckets, to the first one last; returns the leader's result.
    fn apply(&mut self, batch: &Batch, reached: [bool; BUCKETS]) -> Option<Result<(), Gap>> {
        if self.omitted == Omitted::FirstAppliesLast
            && let Some(Err(gap)) = self.publish(batch, reached)
        {
            return Some(Err(gap));
        }
        let rest = self.buckets.iter_mut().zip(reached).skip(1).filter(|(_, reached)| *reached);
        let results: Vec<_> = rest.map(|(bucket, _)| bucket.fence.apply(batch)).collect();
        match worst_gap(results) {
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
            self.published_early |= rest.any(|(bucket, reached)| reached && behind(bucket));
        }
        Some(applied)
    }

    fn repair(&mut self, at: Lsn, reached: [bool; BUCKETS]) -> bool {
        let same =
            matches!(self.buckets[0].state(), BucketState::At { epoch, .. } if epoch == self.epoch);
        let rest = self.buckets.iter_mut().zip(reached).skip(1);
        let lost_buckets = rest.filter(|(bucket, reached)| {
            same && *reached && needs_reset(bucket.state(), self.epoch, at)
        });
        lost_buckets.map(|(bucket, _)| bucket.reset(self.epoch, at, self.omitted)).count() > 0
    }

    fn replay(&mut self, gap: Gap, batch: &Batch, reached: [bool; BUCKETS]) -> bool {
        let Gap::Missing { applied, .. } = gap else { return false };
        let Some(missing) = self.buffer.since(self.epoch, applied) else { return false };
        let missing: Vec<_> = missing.chain([batch]).cloned().collect();
        missing.iter().all(|batch| self.apply(batch, reached) == Some(Ok(())))
    }

    /// Publishes the log as the leader does; false if it has to try again.
    fn publish_log(&mut self, reached: [bool; BUCKETS]) -> bool {
        let (prev, upto) = (Lsn(self.published), Lsn(self.end()));
        let commits = self.log.iter().enumerate().skip(self.published as usize - 10);
        let events = commits.map(|(n, subject)| Event {
            lsn: Lsn(11 + n as u64),
            cause: Cause::Commit,
            committed_us: 0,
            subjects: vec![subject.clone()],
            renewals: Vec::new(),
        });
        let mut batch = Batch {
            epoch: self.epoch,
            prev,
            upto,
            watermark: upto,
            coverage: CoverageDigest::NONE,
            events: events.collect(),
        };
        let applied = match self.apply(&batch, reached) {
            None => return false,
            Some(Ok(())) => true,
            Some(Err(gap)) => {
                self.replay(gap, &batch, reached)
                    || self.repair(prev, reached) && self.apply(&batch, reached) == Some(Ok(()))
            }
        };
        if !applied {
            if !reached[0] {
                return false;
            }
            self.epoch = Epoch { incarnation: self.epoch.incarnation + 1, ..self.epoch };
            batch.epoch = self.epoch;
            for n in (0..BUCKETS).filter(|n| reached[*n]) {
                self.buckets[n].reset(self.epoch, prev, self.omitted);
            }
            self.node.reset_epoch(self.epoch, prev, Lsn::ZERO);
            if self.apply(&batch, reached) != Some(Ok(())) {
                return false;
            }
        }
        self.buffer.push(&batch);
        self.published = upto.0;
        true
    }

    fn run(&mut self, step: &Step) {
        match *step {
            Step::Commit(Some(n)) => self.log.push(Subject::Key(key(n))),
            Step::Commit(None) => self.log.push(Subject::Tag(tags()[0].clone())),
            Step::Publish { reached } => drop(self.publish_log(reached)),
            Step::Fill { key: n, age } => {
                // τ is at or below the bucket's watermark: commits up to τ are visible to the read.
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
            Step::Copy(n) => self.copies[n] = self.buckets[n].clone(),
            Step::Promote(n) => self.buckets[n] = self.copies[n].clone(),
            Step::Forget => self.buffer.clear(),
        }
    }

    /// Checks that no standing entry misses a commit that its own bucket has applied.
    fn check(&self) -> Result<(), TestCaseError> {
        let tags = tags();
        for bucket in &self.buckets {
            let BucketState::At { mut applied, .. } = bucket.state() else { continue };
            if self.omitted == Omitted::OwnPosition {
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

/// Checks, with single buckets unreachable, flushed or replaced by an older copy while the log goes on, that
/// no entry misses a commit that its bucket reports as applied, and that all buckets converge to the end
/// of the log once they can be reached.
fn prove_their_own_entries(omitted: Omitted, steps: &[Step]) -> Result<(), TestCaseError> {
    let mut world = World::new(omitted);
    for step in steps {
        world.run(step);
        world.check()?;
    }
    for _ in 0..2 {
        world.run(&Step::Commit(None));
        prop_assert!(world.publish_log([true; BUCKETS]), "all buckets are reachable");
        world.check()?;
    }
    let end = Lsn(world.end());
    let states: Vec<_> = world.buckets.iter().map(Bucket::state).collect();
    prop_assert!(!states.iter().any(|bucket| needs_reset(*bucket, world.epoch, end)), "{states:?}");
    prop_assert_eq!(standing(&states), Some((world.epoch, end, end)));
    Ok(())
}

/// Checks that every reachable bucket has applied a batch before the stream publishes it.
fn applied_before_published(omitted: Omitted, steps: &[Step]) -> Result<(), TestCaseError> {
    let mut world = World::new(omitted);
    steps.iter().for_each(|step| world.run(step));
    prop_assert!(!world.published_early);
    Ok(())
}

#[test]
fn race_17_21_each_bucket_proves_its_entries() {
    let result = runner().run(&steps(), |steps| prove_their_own_entries(Omitted::None, &steps));
    assert!(result.is_ok(), "{}", result.unwrap_err());
}

#[test]
fn race_11_batch_published_after_buckets() {
    let result = runner().run(&steps(), |steps| applied_before_published(Omitted::None, &steps));
    assert!(result.is_ok(), "{}", result.unwrap_err());
}

/// The tests above can fail: without any one of the rules there is a counterexample.
#[test]
fn every_bucket_rule_is_needed() {
    for omitted in [Omitted::OwnPosition, Omitted::Floor] {
        let result = runner().run(&steps(), |steps| prove_their_own_entries(omitted, &steps));
        assert!(result.is_err(), "{omitted:?}");
    }
    let omitted = Omitted::FirstAppliesLast;
    let result = runner().run(&steps(), |steps| applied_before_published(omitted, &steps));
    assert!(result.is_err(), "{omitted:?}");
}
