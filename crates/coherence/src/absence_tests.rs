use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::event::{Cause, Event};

const EPOCH: Epoch = Epoch { system: 1, timeline: 1, server: 1, incarnation: 1 };
const OTHER: Epoch = Epoch { incarnation: 2, ..EPOCH };

impl Names for BTreeSet<Key> {
    fn add(&mut self, key: &Key) {
        self.insert(key.clone());
    }

    fn may_hold(&self, key: &Key) -> bool {
        self.contains(key)
    }
}

type Exact = Register<BTreeSet<Key>>;

fn key(id: u8) -> Key {
    Key::parse(&format!("v1:catalog:price:{id}")).expect("a key")
}

fn event(lsn: u64, subjects: Vec<Subject>) -> Event {
    let renewals = Vec::new();
    Event { lsn: Lsn(lsn), cause: Cause::Commit, committed_us: 0, subjects, renewals }
}

fn batch(prev: u64, upto: u64, events: Vec<Event>) -> Batch {
    let (prev, upto) = (Lsn(prev), Lsn(upto));
    Batch { epoch: EPOCH, prev, upto, watermark: upto, events }
}

fn touching(lsn: u64, ids: &[u8]) -> Event {
    event(lsn, ids.iter().map(|id| Subject::Key(key(*id))).collect())
}

fn follow(register: &mut Exact, batch: &Batch) {
    register.follow(batch, |_| true);
}

/// One that stands at 10, of a table that holds the rows `ids`.
fn standing(ids: &[u8]) -> Exact {
    let mut register = Exact::default();
    follow(&mut register, &batch(9, 10, Vec::new()));
    let reading = register.begin(BTreeSet::new).expect("it has heard of the log");
    assert!(register.may_read(EPOCH, Lsn(10)));
    let keys: Vec<Key> = ids.iter().map(|id| key(*id)).collect();
    assert!(register.note(reading, &keys) && register.counted(reading, Lsn(10)));
    register
}

#[test]
fn race_13_the_insert_is_in_the_next_answer() {
    let mut register = standing(&[1]);
    assert_eq!(register.absent(EPOCH, Lsn(10), &key(1)), None);
    assert_eq!(register.absent(EPOCH, Lsn(10), &key(2)), Some(Lsn(10)));
    follow(&mut register, &batch(10, 11, vec![touching(11, &[2])]));
    assert_eq!(register.absent(EPOCH, Lsn(11), &key(2)), None);
    assert_eq!(register.absent(EPOCH, Lsn(11), &key(3)), Some(Lsn(10)));
}

#[test]
fn a_row_that_comes_while_the_keys_are_read_is_not_missed() {
    let mut register = Exact::default();
    follow(&mut register, &batch(9, 10, Vec::new()));
    let reading = register.begin(BTreeSet::new).expect("it has heard of the log");
    assert!(!register.may_read(EPOCH, Lsn(9)), "a snapshot of now may miss commit 10");
    assert!(register.may_read(EPOCH, Lsn(10)));
    follow(&mut register, &batch(10, 11, vec![touching(11, &[2])]));
    assert!(register.note(reading, [&key(1)]) && register.counted(reading, Lsn(12)));
    assert_eq!(register.absent(EPOCH, Lsn(11), &key(3)), None, "the reading may have seen 12");
    follow(&mut register, &batch(11, 12, Vec::new()));
    assert_eq!(register.absent(EPOCH, Lsn(12), &key(3)), Some(Lsn(10)));
    assert_eq!(register.absent(EPOCH, Lsn(12), &key(2)), None);
}

#[test]
fn a_large_commit_that_was_heard_of_in_part_is_waited_for() {
    let mut register = Exact::default();
    // The first piece of commit 20 does not reach its position.
    follow(&mut register, &batch(9, 10, vec![touching(20, &[1])]));
    register.begin(BTreeSet::new).expect("it has heard of the log");
    assert!(!register.may_read(EPOCH, Lsn(19)), "key 1 would be neither noted nor seen");
    assert!(register.may_read(EPOCH, Lsn(20)));
}

#[test]
fn a_register_that_is_made_later_goes_on_from_what_its_tier_has_heard() {
    let (place, chained) = Place::after(None, &batch(9, 10, vec![touching(20, &[1])]));
    assert!(!chained);
    let mut register = Exact::at(Some(place));
    register.begin(BTreeSet::new).expect("it has heard of the log");
    assert!(!register.may_read(EPOCH, Lsn(19)) && register.may_read(EPOCH, Lsn(20)));
    assert!(Exact::at(None).begin(BTreeSet::new).is_none());
}

#[test]
fn what_may_have_changed_anything_ends_it() {
    let mut register = standing(&[1]);
    follow(&mut register, &batch(10, 11, vec![event(11, vec![Subject::Everything])]));
    assert_eq!(register.absent(EPOCH, Lsn(11), &key(2)), None);
    assert!(register.standing().is_none());
}

#[test]
fn a_gap_another_history_and_a_loss_end_it() {
    let fresh = || standing(&[1]);
    for spoil in [
        (|register: &mut Exact| follow(register, &batch(11, 12, Vec::new()))) as fn(&mut Exact),
        |register| follow(register, &Batch { epoch: OTHER, ..batch(10, 11, Vec::new()) }),
        Register::lose,
    ] {
        let mut register = fresh();
        spoil(&mut register);
        for (epoch, upto) in [(EPOCH, 10), (EPOCH, 12), (OTHER, 11)] {
            assert_eq!(register.absent(epoch, Lsn(upto), &key(2)), None);
        }
    }
    assert_eq!(fresh().absent(OTHER, Lsn(10), &key(2)), None);
    assert_eq!(fresh().absent(EPOCH, Lsn(11), &key(2)), None, "it has not heard of 11");
}

#[test]
fn the_old_list_answers_until_the_new_one_stands_and_hears_as_much() {
    let mut register = standing(&[1]);
    let reading = register.begin(BTreeSet::new).expect("it has heard of the log");
    follow(&mut register, &batch(10, 11, vec![touching(11, &[2])]));
    assert_eq!(register.absent(EPOCH, Lsn(11), &key(2)), None);
    assert_eq!(register.absent(EPOCH, Lsn(11), &key(3)), Some(Lsn(10)));
    let again = register.begin(BTreeSet::new).expect("it has heard of the log");
    assert!(!register.note(reading, [&key(1)]), "a later reading has taken its place");
    assert!(!register.counted(reading, Lsn(11)));
    assert!(register.is_under_way(again) && register.counted(again, Lsn(11)));
    assert_eq!(register.absent(EPOCH, Lsn(11), &key(1)), Some(Lsn(11)), "nobody has read 1");
}

/// A commit: which keys it inserts and deletes, and whether its event names them or says
/// "everything".
#[derive(Clone, Debug)]
struct Commit {
    inserts: u8,
    deletes: u8,
    named: bool,
}

fn commits() -> impl Strategy<Value = Vec<Commit>> {
    let commit = (any::<u8>(), any::<u8>(), proptest::bool::weighted(0.9));
    let commit = commit.prop_map(|(inserts, deletes, named)| Commit {
        inserts: inserts & 7,
        deletes: deletes & 7,
        named,
    });
    proptest::collection::vec(commit, 16)
}

/// What happens next.
#[derive(Clone, Debug)]
enum Step {
    /// The next so many commits arrive; the last of them perhaps only in part.
    Deliver(u64, bool),
    /// W moves on to at most what has arrived.
    Settle(u64),
    Begin,
    /// The page with this key is read, by a snapshot that shows all up to W and some beyond.
    Page(u8, u16),
    End,
    Lose,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1_u64..4, any::<bool>()).prop_map(|(n, whole)| Step::Deliver(n, whole)),
        4 => (1_u64..4).prop_map(Step::Settle),
        2 => Just(Step::Begin),
        6 => (0_u8..3, any::<u16>()).prop_map(|(id, more)| Step::Page(id, more)),
        3 => Just(Step::End),
        1 => Just(Step::Lose),
    ];
    proptest::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    /// Against the truth: whatever the order of commits, pieces, snapshots and readings, a key that
    /// is said to be absent from one position to another has no row at any of them.
    #[test]
    fn what_is_absent_has_no_row(commits in commits(), steps in steps()) {
        let rows = |shown: &dyn Fn(u64) -> bool| {
            let shown = (1..=16_u64).zip(&commits).filter(|(lsn, _)| shown(*lsn));
            shown.fold(0_u8, |rows, (_, commit)| rows & !commit.deletes | commit.inserts)
        };
        let named = |lsn: u64| {
            let commit = &commits[lsn as usize - 1];
            let touched = commit.inserts | commit.deletes;
            let keys = (0..3).filter(|id| touched >> id & 1 == 1).map(|id| Subject::Key(key(id)));
            if commit.named { keys.collect() } else { vec![Subject::Everything] }
        };
        let mut register = Exact::default();
        // Commit 1 is there from the beginning; the tier has applied it.
        follow(&mut register, &batch(0, 1, vec![event(1, named(1))]));
        let (mut applied, mut watermark, mut told) = (1_u64, 1_u64, 1_u64);
        let (mut reading, mut pages, mut seen) = (None, 0_u8, 0_u64);
        for step in steps {
            match step {
                Step::Deliver(n, whole) => {
                    let to = (told + n).min(16);
                    let mut events: Vec<Event> =
                        (applied + 1..=to).map(|lsn| event(lsn, named(lsn))).collect();
                    let cut = !whole && to > applied;
                    let upto = if cut { to - 1 } else { to };
                    if cut && let Some(last) = events.last_mut() {
                        let keep = last.subjects.len() / 2;
                        last.subjects.truncate(keep);
                    }
                    let piece = Batch { watermark: Lsn(watermark), ..batch(applied, upto, events) };
                    follow(&mut register, &piece);
                    (applied, told) = (upto.max(applied), to.max(told));
                }
                Step::Settle(n) => watermark = (watermark + n).min(applied),
                Step::Begin => {
                    reading = register.begin(BTreeSet::new);
                    (pages, seen) = (0, watermark);
                }
                Step::Page(id, more) if register.may_read(EPOCH, Lsn(watermark)) => {
                    let shows = |lsn: u64| {
                        lsn <= watermark || more >> (lsn - watermark - 1).min(15) & 1 == 1
                    };
                    seen = (1..=16).rev().find(|lsn| shows(*lsn)).unwrap_or(0).max(seen);
                    let held = rows(&shows) >> id & 1 == 1;
                    if let Some(reading) = reading {
                        let _ = register.note(reading, held.then(|| key(id)).as_ref());
                    }
                    pages |= 1 << id;
                }
                Step::End if pages == 7 => {
                    if let Some(reading) = reading.take() {
                        let _ = register.counted(reading, Lsn(seen));
                    }
                }
                Step::Page(..) | Step::End => {}
                Step::Lose => register.lose(),
            }
            for id in 0..3 {
                let Some(from) = register.absent(EPOCH, Lsn(applied), &key(id)) else { continue };
                for at in from.0..=applied {
                    let there = rows(&|lsn| lsn <= at) >> id & 1 == 1;
                    prop_assert!(!there, "key {id} has a row at {at}");
                }
            }
        }
    }
}
