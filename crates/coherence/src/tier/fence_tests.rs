use std::collections::BTreeMap;

use contract::{Key, Pattern, Tag};
use proptest::prelude::*;

use super::*;
use crate::event::Cause;

const EPOCH: Epoch = Epoch { system: 1, timeline: 1, server: 1, incarnation: 1 };
const OTHER: Epoch = Epoch { incarnation: 2, ..EPOCH };

fn key(id: u8) -> Key {
    Key::parse(&format!("v1:catalog:price:{id}")).expect("a key")
}

fn tag(id: u8) -> Tag {
    Tag::parse(&format!("category-{id}")).expect("a tag")
}

fn fence(at: u64) -> Fence {
    let mut fence = Fence::default();
    fence.reset_epoch(EPOCH, Lsn(at), Lsn(at));
    fence
}

fn batch(prev: u64, upto: u64, subjects: Vec<Subject>) -> Batch {
    let event = Event {
        lsn: Lsn(upto),
        cause: Cause::Commit,
        committed_us: 0,
        subjects,
        renewals: Vec::new(),
    };
    Batch {
        epoch: EPOCH,
        prev: Lsn(prev),
        upto: Lsn(upto),
        watermark: Lsn(upto),
        coverage: CoverageDigest::NONE,
        events: vec![event],
    }
}

fn offer<'a>(key: &'a Key, tags: &'a [Tag], tau: u64) -> Offer<'a> {
    Offer { key, tags, tau: Lsn(tau), epoch: EPOCH, stored: None }
}

#[test]
fn race_01_stale_fill_rejected_after_event() {
    let mut fence = fence(10);
    let k = key(1);
    let slow_read = offer(&k, &[], 10);
    fence.apply(&batch(10, 11, vec![Subject::Key(k.clone())])).expect("no gap");
    assert_eq!(fence.admit(slow_read), Verdict::Refuse(Refusal::Tombstone));
    assert_eq!(fence.admit(offer(&k, &[], 11)), Verdict::Accept);
}

#[test]
fn race_02_early_deletion_refill_invalidated() {
    let mut fence = fence(10);
    let k = key(1);
    let mut early = batch(10, 11, vec![Subject::Key(k.clone())]);
    early.events[0].cause = Cause::Application;
    fence.apply(&early).expect("no gap");
    let refill = offer(&k, &[], 11);
    assert_eq!(fence.admit(refill), Verdict::Accept, "nothing has changed yet");
    fence.apply(&batch(11, 12, vec![Subject::Key(k.clone())])).expect("no gap");
    assert!(!fence.stands(&k, &[], Lsn(11)), "but now it has");
    assert_eq!(fence.admit(refill), Verdict::Refuse(Refusal::Tombstone));
}

#[test]
fn race_04_08_older_fill_rejected() {
    let fence = fence(10);
    let k = key(1);
    let late = Offer { stored: Some(Lsn(15)), ..offer(&k, &[], 12) };
    assert_eq!(fence.admit(late), Verdict::Refuse(Refusal::Older));
}

#[test]
fn late_fill_admitted_up_to_its_token() {
    let mut fence = fence(10);
    let (k, other) = (key(1), key(2));
    fence.apply(&batch(10, 12, vec![Subject::Key(k.clone())])).expect("no gap");
    assert_eq!(fence.admit_late(offer(&k, &[], 10)), Some(Lsn(11)));
    assert_eq!(fence.admit_late(offer(&k, &[], 12)), None, "the fill is not late");
    assert_eq!(fence.admit_late(offer(&other, &[], 9)), None, "below the floor it can't be judged");
    let older = Offer { stored: Some(Lsn(11)), ..offer(&k, &[], 10) };
    assert_eq!(fence.admit_late(older), None);
    let foreign = Offer { epoch: OTHER, ..offer(&k, &[], 10) };
    assert_eq!(fence.admit_late(foreign), None);
    let mut purge = batch(12, 13, vec![Subject::Key(other)]);
    purge.events[0].cause = Cause::Purge;
    fence.apply(&purge).expect("no gap");
    assert_eq!(fence.admit_late(offer(&k, &[], 12)), None, "the fill is not late");
    fence.apply(&batch(13, 14, vec![Subject::Key(k.clone())])).expect("no gap");
    assert_eq!(fence.admit_late(offer(&k, &[], 12)), None, "the load began before the purge");
    assert_eq!(fence.admit_late(offer(&k, &[], 13)), Some(Lsn(14)));
}

#[test]
fn race_06_repeated_event_keeps_newer_entry() {
    let mut fence = fence(10);
    let event = batch(10, 11, vec![Subject::Key(key(1))]);
    fence.apply(&event).expect("no gap");
    assert!(fence.stands(&key(1), &[], Lsn(11)));
    fence.apply(&event).expect("a repeat is no gap");
    assert!(fence.stands(&key(1), &[], Lsn(11)));
}

#[test]
fn race_09_fill_rejected_after_flush() {
    let mut fence = fence(10);
    let k = key(1);
    assert_eq!(Fence::default().admit(offer(&k, &[], 10)), Verdict::Refuse(Refusal::Unproven));
    fence.reset_epoch(OTHER, Lsn(20), Lsn(20));
    assert_eq!(fence.admit(offer(&k, &[], 30)), Verdict::Refuse(Refusal::Epoch));
    let new = Offer { epoch: OTHER, ..offer(&k, &[], 19) };
    assert_eq!(fence.admit(new), Verdict::Refuse(Refusal::Floor));
}

#[test]
fn race_10_missed_batch_detected() {
    let mut fence = fence(10);
    let gap = fence.apply(&batch(11, 12, vec![]));
    assert_eq!(gap, Err(Gap::Missing { applied: Lsn(10), prev: Lsn(11) }));
    assert_eq!(fence.applied(), Lsn(10), "the batch was not applied");
    let other = Batch { epoch: OTHER, ..batch(10, 11, vec![]) };
    assert_eq!(fence.apply(&other), Err(Gap::Epoch { tier: EPOCH }));
    assert_eq!(Fence::default().apply(&other), Err(Gap::Unproven));
}

#[test]
fn race_13_insert_removes_absence() {
    let mut fence = fence(10);
    fence.apply(&batch(10, 11, vec![Subject::Key(key(9))])).expect("no gap");
    assert!(!fence.stands(&key(9), &[], Lsn(10)), "\"not found\" was read before the insert");
}

#[test]
fn race_10_partial_commit_survives_reset() {
    // Commit 20 arrives in two pieces, and the tier has missed the batch before the first one.
    let mut fence = fence(5);
    let k = key(1);
    let mut first = batch(10, 20, vec![Subject::Key(k.clone())]);
    first.upto = Lsn(10);
    assert!(matches!(fence.follow(&first, true), Followed::Reset(_)));
    assert_eq!(fence.applied(), Lsn(10));
    let second = batch(10, 20, vec![Subject::Key(key(2))]);
    assert_eq!(fence.follow(&second, true), Followed::Applied);
    assert_eq!(fence.admit(offer(&k, &[], 10)), Verdict::Refuse(Refusal::Tombstone));
    assert_eq!(fence.admit(offer(&k, &[], 20)), Verdict::Accept);
}

#[test]
fn race_14_truncate_reaches_unlisted_keys() {
    let mut fence = fence(10);
    fence.apply(&batch(10, 11, vec![Subject::Everything])).expect("no gap");
    assert!(!fence.stands(&key(3), &[], Lsn(10)));
    assert!(fence.stands(&key(3), &[], Lsn(11)));
}

fn keys_like(pattern: &str) -> Subject {
    Subject::KeysLike(Pattern::of_keys(pattern).expect("a pattern"))
}

fn tags_like(pattern: &str) -> Subject {
    Subject::TagsLike(Pattern::of_tags(pattern).expect("a pattern"))
}

#[test]
fn wildcard_hits_entries_and_pending_fills() {
    let mut fence = fence(10);
    let stock = Key::parse("v1:catalog:stock:1").expect("a key");
    let loading = offer(&stock, &[], 10);
    fence.apply(&batch(10, 11, vec![keys_like("v1:catalog:st*")])).expect("no gap");
    assert!(!fence.stands(&stock, &[], Lsn(10)));
    assert_eq!(fence.admit(loading), Verdict::Refuse(Refusal::Tombstone));
    assert_eq!(fence.admit(offer(&stock, &[], 11)), Verdict::Accept);
    assert!(fence.stands(&key(1), &[tag(1)], Lsn(10)), "a price is not a stock entry");
    assert_eq!(
        fence.admit(offer(&key(2), &[], 10)),
        Verdict::Accept,
        "neither is a price that is being loaded"
    );

    fence.apply(&batch(11, 12, vec![tags_like("*-1")])).expect("no gap");
    assert!(!fence.stands(&key(1), &[tag(0), tag(1)], Lsn(11)));
    assert!(fence.stands(&key(1), &[tag(0)], Lsn(10)) && fence.stands(&key(1), &[], Lsn(10)));
    assert_eq!(fence.tombstones(), 2);
}

#[test]
fn excess_wildcards_raise_floor() {
    let mut fence = fence(10);
    let (covered, other) = (Key::parse("v1:catalog:n0:1").expect("a key"), key(1));
    let most = Fence::PATTERNS_MAX as u64;
    for n in 0..most {
        let subject = keys_like(&format!("v1:catalog:n{n}:*"));
        fence.apply(&batch(10 + n, 11 + n, vec![subject])).expect("no gap");
    }
    assert!(!fence.stands(&covered, &[], Lsn(10)) && fence.stands(&other, &[], Lsn(10)));
    assert_eq!(fence.floor(), Lsn(10));
    let end = 10 + most;
    fence.apply(&batch(end, end + 1, vec![keys_like("v1:catalog:stock:*")])).expect("no gap");
    assert_eq!((fence.floor(), fence.tombstones() as u64), (Lsn(11), most));
    assert!(!fence.stands(&covered, &[], Lsn(10)), "it stays invalidated");
    assert!(!fence.stands(&other, &[], Lsn(10)) && fence.stands(&other, &[], Lsn(11)));
}

#[test]
fn excess_tombstones_raise_floor() {
    let mut fence = fence(10);
    fence.apply(&batch(10, 11, vec![Subject::Key(key(1)), Subject::Key(key(2))])).expect("no gap");
    fence.apply(&batch(11, 12, vec![Subject::Key(key(3))])).expect("no gap");
    fence.apply(&batch(12, 13, vec![Subject::Tag(tag(1))])).expect("no gap");
    assert_eq!(fence.overflow(4), None);
    for (most, upto, left) in [(3, 11, 2), (2, 11, 2), (1, 12, 1), (0, 13, 0)] {
        let mut fence = fence.clone();
        assert_eq!(fence.overflow(most), Some(Lsn(upto)), "at most {most}");
        fence.collect(Lsn(upto));
        assert_eq!((fence.tombstones(), fence.floor()), (left, Lsn(upto)));
        assert_eq!(fence.overflow(most), None);
    }
}

#[test]
fn race_21_restored_tier_outdated() {
    let mut fence = fence(10);
    let k = key(1);
    fence.apply(&batch(10, 11, vec![Subject::Key(k.clone())])).expect("no gap");
    assert!(fence.outdates(&k, &[], EPOCH, Lsn(10)));
    assert!(fence.outdates(&k, &[], OTHER, Lsn(10)), "positions of one log can be compared");
    assert!(!fence.outdates(&k, &[], EPOCH, Lsn(11)));
    assert!(!fence.outdates(&key(2), &[], EPOCH, Lsn(10)), "no event names this key");
    let restarted = Epoch { server: 2, ..EPOCH };
    assert!(!fence.outdates(&k, &[], restarted, Lsn(10)), "another log can't be compared");
}

#[test]
fn collected_tombstones_leave_floor() {
    let mut fence = fence(10);
    let k = key(1);
    fence.apply(&batch(10, 11, vec![Subject::Key(k.clone())])).expect("no gap");
    fence.apply(&batch(11, 12, vec![Subject::Tag(tag(1))])).expect("no gap");
    assert_eq!(fence.collect(Lsn(11)), 1);
    assert_eq!(fence.admit(offer(&k, &[], 10)), Verdict::Refuse(Refusal::Floor));
    assert_eq!(fence.collect(Lsn(99)), 1, "never past W");
    assert_eq!(fence.floor(), Lsn(12));
}

#[test]
fn confirmed_entry_survives_collection() {
    let mut fence = fence(10);
    let k = key(1);
    fence.apply(&batch(10, 11, vec![Subject::Key(key(2))])).expect("no gap");
    assert_eq!(fence.confirm(&k, &[], Lsn(10)), Some(Lsn(11)));
    assert_eq!(fence.confirm(&k, &[], Lsn(12)), Some(Lsn(12)), "never lower than before");
    assert_eq!(
        fence.confirm(&key(2), &[], Lsn(10)),
        None,
        "an invalidated entry gets no newer token"
    );
    fence.collect(Lsn(11));
    assert!(!fence.stands(&k, &[], Lsn(10)) && fence.stands(&k, &[], Lsn(11)));
}

/// The steps of the test, in any sequence.
#[derive(Clone, Debug)]
enum Step {
    /// A commit touches a key and a tag.
    Commit {
        key: u8,
        tag: u8,
    },
    /// A wildcard purge: a commit may have changed any matching key.
    Wildcard {
        which: u8,
    },
    /// The tier applies the log up to `ahead` commits after its position, and `again` commits once more.
    Apply {
        ahead: u8,
        again: u8,
    },
    /// W moves over n commits.
    Visible {
        ahead: u8,
    },
    /// A reader takes W as its τ and reads.
    Read {
        key: u8,
        tag: u8,
        fresher: u8,
    },
    /// One of the reads in flight is offered as a fill.
    Fill {
        which: u8,
    },
    /// A standing entry is used, which prolongs its TTL.
    Use {
        key: u8,
    },
    Collect {
        upto: u8,
    },
    Flush,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..3_u8, 0..2_u8).prop_map(|(key, tag)| Step::Commit { key, tag }),
        1 => (0..4_u8).prop_map(|which| Step::Wildcard { which }),
        3 => (0..3_u8, 0..4_u8).prop_map(|(ahead, again)| Step::Apply { ahead, again }),
        2 => (0..3_u8).prop_map(|ahead| Step::Visible { ahead }),
        4 => (0..3_u8, 0..2_u8, 0..3_u8)
            .prop_map(|(key, tag, fresher)| Step::Read { key, tag, fresher }),
        4 => (0..8_u8).prop_map(|which| Step::Fill { which }),
        2 => (0..3_u8).prop_map(|key| Step::Use { key }),
        1 => (0..40_u8).prop_map(|upto| Step::Collect { upto }),
        1 => Just(Step::Flush),
    ];
    proptest::collection::vec(step, 1..120)
}

struct Read {
    key: Key,
    tags: Vec<Tag>,
    tau: Lsn,
    epoch: Epoch,
    /// Every commit up to here was in the read's snapshot.
    saw: u64,
}

struct World {
    fence: Fence,
    epoch: Epoch,
    /// The subjects of the n-th commit, from 1.
    commits: Vec<Vec<Subject>>,
    visible: u64,
    reads: Vec<Read>,
    entries: BTreeMap<Key, Read>,
}

impl World {
    fn event(&self, n: u64) -> Event {
        let subjects = self.commits[n as usize - 1].clone();
        Event { lsn: Lsn(n), cause: Cause::Commit, committed_us: 0, subjects, renewals: Vec::new() }
    }

    fn run(&mut self, step: Step) {
        let end = self.commits.len() as u64;
        match step {
            Step::Commit { key: k, tag: t } => {
                self.commits.push(vec![Subject::Key(key(k)), Subject::Tag(tag(t))]);
            }
            Step::Wildcard { which } => self.commits.push(vec![match which {
                0 => keys_like("v1:catalog:price:*"),
                1 => keys_like("*:price:2"),
                2 => tags_like("category-*"),
                _ => tags_like("cat*-1"),
            }]),
            Step::Apply { ahead, again } => {
                let applied = self.fence.applied().0;
                let prev = applied.saturating_sub(u64::from(again));
                let upto = (applied + u64::from(ahead)).min(end);
                let events = (prev + 1..=upto).map(|n| self.event(n)).collect();
                let batch = Batch {
                    epoch: self.epoch,
                    prev: Lsn(prev),
                    upto: Lsn(upto),
                    watermark: Lsn(self.visible),
                    coverage: CoverageDigest::NONE,
                    events,
                };
                self.fence.apply(&batch).expect("no gap");
                let fence = &self.fence;
                self.entries.retain(|key, entry| fence.stands(key, &entry.tags, entry.tau));
            }
            Step::Visible { ahead } => self.visible = (self.visible + u64::from(ahead)).min(end),
            Step::Read { key: k, tag: t, fresher } => {
                let read = Read {
                    key: key(k),
                    tags: vec![tag(t)],
                    tau: self.fence.watermark(),
                    epoch: self.epoch,
                    saw: (self.visible + u64::from(fresher)).min(end),
                };
                self.reads.push(read);
            }
            Step::Fill { which } if !self.reads.is_empty() => {
                let read = self.reads.swap_remove(usize::from(which) % self.reads.len());
                let stored = self.entries.get(&read.key).map(|entry| entry.tau);
                let offer = Offer {
                    key: &read.key,
                    tags: &read.tags,
                    tau: read.tau,
                    epoch: read.epoch,
                    stored,
                };
                if self.fence.admit(offer) == Verdict::Accept {
                    self.entries.insert(read.key.clone(), read);
                }
            }
            Step::Fill { .. } => {}
            Step::Use { key: k } => {
                let fence = &self.fence;
                if let Some((key, entry)) = self.entries.get_key_value(&key(k)) {
                    let tau = fence.confirm(key, &entry.tags, entry.tau).expect("it stands");
                    self.entries.entry(key.clone()).and_modify(|entry| entry.tau = tau);
                }
            }
            Step::Collect { upto } => {
                self.fence.collect(Lsn(u64::from(upto)));
                let fence = &self.fence;
                self.entries.retain(|key, entry| fence.stands(key, &entry.tags, entry.tau));
            }
            Step::Flush => {
                self.epoch.incarnation += 1;
                let at = self.fence.applied();
                self.fence.reset_epoch(self.epoch, at, Lsn(self.visible));
                self.entries.clear();
            }
        }
    }

    /// Checks that no entry of the tier misses a commit that the tier has applied.
    fn check(&self) {
        for (key, entry) in &self.entries {
            let missed = (entry.saw + 1..=self.fence.applied().0).find(|n| {
                let subjects = &self.commits[*n as usize - 1];
                subjects.iter().any(|subject| subject.concerns(key, &entry.tags))
            });
            assert_eq!(missed, None, "{key} was read before commit {missed:?}, which is applied");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn no_interleaving_leaves_stale_entries(steps in steps()) {
        let mut world = World {
            fence: fence(0),
            epoch: EPOCH,
            commits: Vec::new(),
            visible: 0,
            reads: Vec::new(),
            entries: BTreeMap::new(),
        };
        for step in steps {
            world.run(step);
            world.check();
        }
    }
}
