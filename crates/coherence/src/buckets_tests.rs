use std::collections::BTreeMap;

use contract::{Key, Tag};
use proptest::prelude::*;

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

    fn begin(&mut self, epoch: Epoch, at: Lsn) {
        self.entries.clear();
        self.fence.incarnate(epoch, at, Lsn::ZERO);
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

struct World {
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
    fn new() -> Self {
        let mut begun = Bucket::default();
        begun.begin(EPOCH, Lsn(10));
        let buckets = vec![begun.clone(); BUCKETS];
        let (kept, node) = (buckets.clone(), begun.fence);
        let recent = Recent::new(1_000);
        Self { log: Vec::new(), buckets, kept, recent, epoch: EPOCH, told: 10, node }
    }

    fn end(&self) -> u64 {
        10 + self.log.len() as u64
    }

    /// To those that are reached, the first one last; answers what the leader hears.
    fn apply(&mut self, batch: &Batch, reached: [bool; BUCKETS]) -> Option<Result<(), Gap>> {
        let rest = (1..BUCKETS).filter(|n| reached[*n]).collect::<Vec<_>>();
        let met = rest.into_iter().map(|n| {
            let bucket = &mut self.buckets[n];
            bucket.fence.apply(batch)?;
            Ok(())
        });
        let met: Vec<_> = met.collect();
        if let Err(gap) = verdict(met) {
            return Some(Err(gap));
        }
        if !reached[0] {
            return None;
        }
        let first = self.buckets[0].fence.apply(batch);
        if first.is_ok() {
            self.node.follow(batch, true);
        }
        Some(first)
    }

    fn mend(&mut self, at: Lsn, reached: [bool; BUCKETS]) -> bool {
        let same =
            matches!(self.buckets[0].shown(), Shown::At { epoch, .. } if epoch == self.epoch);
        let rest = self.buckets.iter_mut().zip(reached).skip(1);
        let lost = rest.filter(|(bucket, reached)| {
            same && *reached && is_lost(bucket.shown(), self.epoch, at)
        });
        lost.map(|(bucket, _)| bucket.begin(self.epoch, at)).count() > 0
    }

    fn missing(&self, gap: Gap) -> Option<Vec<Batch>> {
        let Gap::Missing { applied, .. } = gap else { return None };
        Some(self.recent.since(self.epoch, applied)?.cloned().collect())
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
        for _ in 0..5 {
            let gap = match self.apply(&batch, reached) {
                None => return false,
                Some(Ok(())) => {
                    self.recent.push(&batch);
                    self.told = upto.0;
                    return true;
                }
                Some(Err(gap)) => gap,
            };
            if let Some(missing) = self.missing(gap) {
                for batch in missing {
                    match self.apply(&batch, reached) {
                        None => return false,
                        Some(Ok(())) => {}
                        Some(Err(_)) => break,
                    }
                }
                continue;
            }
            if self.mend(prev, reached) {
                continue;
            }
            if !reached[0] {
                return false;
            }
            self.epoch = Epoch { incarnation: self.epoch.incarnation + 1, ..self.epoch };
            batch.epoch = self.epoch;
            for n in (0..BUCKETS).filter(|n| reached[*n]) {
                self.buckets[n].begin(self.epoch, prev);
            }
            self.node.incarnate(self.epoch, prev, Lsn::ZERO);
        }
        false
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
            let Shown::At { applied, .. } = bucket.shown() else { continue };
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Whatever becomes of single buckets (away, flushed, replaced by an older copy) while the log goes on:
    /// no bucket's answer misses what that bucket shows to have applied, and once all can be reached
    /// they stand where the log ends.
    #[test]
    fn race_17_21_buckets_that_come_and_go_answer_for_themselves(steps in steps()) {
        let mut world = World::new();
        for step in &steps {
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
    }

    /// What the stream has told, every bucket that could be reached has taken, in the same history.
    #[test]
    fn race_11_nobody_hears_of_a_batch_before_the_buckets_have_it(steps in steps()) {
        let mut world = World::new();
        for step in &steps {
            let before = world.node.applied();
            world.run(step);
            if let Step::Tell { reached } = step && world.node.applied() > before {
                for (n, bucket) in world.buckets.iter().enumerate() {
                    let behind = bucket.fence.applied() < world.node.applied();
                    prop_assert!(!(reached[n] && behind), "bucket {n}");
                }
            }
        }
    }
}
