use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::event::{Cause, Event};
use crate::tier::coverage::CoverageDigest;

const EPOCH: Epoch = Epoch { system: 1, timeline: 1, server: 1, incarnation: 1 };
const OTHER: Epoch = Epoch { incarnation: 2, ..EPOCH };

impl KeySet for BTreeSet<Key> {
    fn insert(&mut self, key: &Key) {
        BTreeSet::insert(self, key.clone());
    }

    fn may_contain(&self, key: &Key) -> bool {
        self.contains(key)
    }
}

type ExactFilter = KeyFilter<BTreeSet<Key>>;

fn key(id: u8) -> Key {
    Key::parse(&format!("v1:catalog:price:{id}")).expect("a key")
}

fn event(lsn: u64, subjects: Vec<Subject>) -> Event {
    let renewals = Vec::new();
    Event { lsn: Lsn(lsn), cause: Cause::Commit, committed_us: 0, subjects, renewals }
}

fn batch(prev: u64, upto: u64, events: Vec<Event>) -> Batch {
    let (prev, upto) = (Lsn(prev), Lsn(upto));
    Batch { epoch: EPOCH, prev, upto, watermark: upto, coverage: CoverageDigest::NONE, events }
}

fn touching(lsn: u64, ids: &[u8]) -> Event {
    event(lsn, ids.iter().map(|id| Subject::Key(key(*id))).collect())
}

fn follow(filter: &mut ExactFilter, batch: &Batch) {
    filter.follow(batch, |_| true);
}

/// Returns a filter at position 10 of a table with the rows `ids`.
fn scanned(ids: &[u8]) -> ExactFilter {
    let mut filter = ExactFilter::default();
    follow(&mut filter, &batch(9, 10, Vec::new()));
    let scan = filter.begin_scan(BTreeSet::new).expect("a batch was received");
    assert!(filter.may_scan(EPOCH, Lsn(10)));
    let keys: Vec<Key> = ids.iter().map(|id| key(*id)).collect();
    assert!(filter.add_scanned(scan, &keys) && filter.finish_scan(scan, Lsn(10)));
    filter
}

#[test]
fn race_13_inserted_key_not_absent() {
    let mut filter = scanned(&[1]);
    assert_eq!(filter.absent(EPOCH, Lsn(10), &key(1)), None);
    assert_eq!(filter.absent(EPOCH, Lsn(10), &key(2)), Some(Lsn(10)));
    follow(&mut filter, &batch(10, 11, vec![touching(11, &[2])]));
    assert_eq!(filter.absent(EPOCH, Lsn(11), &key(2)), None);
    assert_eq!(filter.absent(EPOCH, Lsn(11), &key(3)), Some(Lsn(10)));
}

#[test]
fn insert_during_scan_not_missed() {
    let mut filter = ExactFilter::default();
    follow(&mut filter, &batch(9, 10, Vec::new()));
    let scan = filter.begin_scan(BTreeSet::new).expect("a batch was received");
    assert!(!filter.may_scan(EPOCH, Lsn(9)), "a snapshot at W = 9 may miss commit 10");
    assert!(filter.may_scan(EPOCH, Lsn(10)));
    follow(&mut filter, &batch(10, 11, vec![touching(11, &[2])]));
    assert!(filter.add_scanned(scan, [&key(1)]) && filter.finish_scan(scan, Lsn(12)));
    assert_eq!(filter.absent(EPOCH, Lsn(11), &key(3)), None, "the scan may have seen 12");
    follow(&mut filter, &batch(11, 12, Vec::new()));
    assert_eq!(filter.absent(EPOCH, Lsn(12), &key(3)), Some(Lsn(10)));
    assert_eq!(filter.absent(EPOCH, Lsn(12), &key(2)), None);
}

#[test]
fn scan_waits_for_partial_commit() {
    let mut filter = ExactFilter::default();
    // The first piece of commit 20 does not reach its position.
    follow(&mut filter, &batch(9, 10, vec![touching(20, &[1])]));
    filter.begin_scan(BTreeSet::new).expect("a batch was received");
    assert!(!filter.may_scan(EPOCH, Lsn(19)), "key 1 would be neither recorded nor scanned");
    assert!(filter.may_scan(EPOCH, Lsn(20)));
}

#[test]
fn later_filter_continues_from_tier_position() {
    let (position, continued) =
        FilterPosition::after(None, &batch(9, 10, vec![touching(20, &[1])]));
    assert!(!continued);
    let mut filter = ExactFilter::at(Some(position));
    filter.begin_scan(BTreeSet::new).expect("a batch was received");
    assert!(!filter.may_scan(EPOCH, Lsn(19)) && filter.may_scan(EPOCH, Lsn(20)));
    assert!(ExactFilter::at(None).begin_scan(BTreeSet::new).is_none());
}

#[test]
fn event_about_everything_clears() {
    let mut filter = scanned(&[1]);
    follow(&mut filter, &batch(10, 11, vec![event(11, vec![Subject::Everything])]));
    assert_eq!(filter.absent(EPOCH, Lsn(11), &key(2)), None);
    assert!(filter.current().is_none());
}

#[test]
fn gap_or_other_epoch_clears() {
    let fresh = || scanned(&[1]);
    for spoil in [
        (|filter: &mut ExactFilter| follow(filter, &batch(11, 12, Vec::new())))
            as fn(&mut ExactFilter),
        |filter| follow(filter, &Batch { epoch: OTHER, ..batch(10, 11, Vec::new()) }),
        KeyFilter::clear,
    ] {
        let mut filter = fresh();
        spoil(&mut filter);
        for (epoch, upto) in [(EPOCH, 10), (EPOCH, 12), (OTHER, 11)] {
            assert_eq!(filter.absent(epoch, Lsn(upto), &key(2)), None);
        }
    }
    assert_eq!(fresh().absent(OTHER, Lsn(10), &key(2)), None);
    assert_eq!(fresh().absent(EPOCH, Lsn(11), &key(2)), None, "the filter has not received 11");
}

#[test]
fn old_set_answers_until_new_one_is_ready() {
    let mut filter = scanned(&[1]);
    let scan = filter.begin_scan(BTreeSet::new).expect("a batch was received");
    follow(&mut filter, &batch(10, 11, vec![touching(11, &[2])]));
    assert_eq!(filter.absent(EPOCH, Lsn(11), &key(2)), None);
    assert_eq!(filter.absent(EPOCH, Lsn(11), &key(3)), Some(Lsn(10)));
    let second = filter.begin_scan(BTreeSet::new).expect("a batch was received");
    assert!(!filter.add_scanned(scan, [&key(1)]), "a later scan has replaced it");
    assert!(!filter.finish_scan(scan, Lsn(11)));
    assert!(filter.is_scanning(second) && filter.finish_scan(second, Lsn(11)));
    assert_eq!(
        filter.absent(EPOCH, Lsn(11), &key(1)),
        Some(Lsn(11)),
        "the second scan has not read key 1"
    );
}

/// A commit: the keys that it inserts and deletes, and whether its event names them or is about
/// everything.
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

/// One step.
#[derive(Clone, Debug)]
enum Step {
    /// The next n commits arrive; the last of them perhaps in part.
    Deliver(u64, bool),
    /// W moves by n commits, at most up to the last arrived one.
    MoveWatermark(u64),
    Begin,
    /// The page with this key is read by a snapshot that shows all commits up to W and some beyond.
    Page(u8, u16),
    End,
    Clear,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1_u64..4, any::<bool>()).prop_map(|(n, whole)| Step::Deliver(n, whole)),
        4 => (1_u64..4).prop_map(Step::MoveWatermark),
        2 => Just(Step::Begin),
        6 => (0_u8..3, any::<u16>()).prop_map(|(id, more)| Step::Page(id, more)),
        3 => Just(Step::End),
        1 => Just(Step::Clear),
    ];
    proptest::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    /// Against the truth, for any sequence of commits, pieces, snapshots and scans: a key that the filter
    /// reports as absent from one position to another has no row at any of them.
    #[test]
    fn absent_key_has_no_row(commits in commits(), steps in steps()) {
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
        let mut filter = ExactFilter::default();
        // Commit 1 exists from the start; the tier has applied it.
        follow(&mut filter, &batch(0, 1, vec![event(1, named(1))]));
        let (mut applied, mut watermark, mut arrived) = (1_u64, 1_u64, 1_u64);
        let (mut scan, mut pages, mut seen) = (None, 0_u8, 0_u64);
        for step in steps {
            match step {
                Step::Deliver(n, whole) => {
                    let to = (arrived + n).min(16);
                    let mut events: Vec<Event> =
                        (applied + 1..=to).map(|lsn| event(lsn, named(lsn))).collect();
                    let cut = !whole && to > applied;
                    let upto = if cut { to - 1 } else { to };
                    if cut && let Some(last) = events.last_mut() {
                        let keep = last.subjects.len() / 2;
                        last.subjects.truncate(keep);
                    }
                    let piece = Batch { watermark: Lsn(watermark), ..batch(applied, upto, events) };
                    follow(&mut filter, &piece);
                    (applied, arrived) = (upto.max(applied), to.max(arrived));
                }
                Step::MoveWatermark(n) => watermark = (watermark + n).min(applied),
                Step::Begin => {
                    scan = filter.begin_scan(BTreeSet::new);
                    (pages, seen) = (0, watermark);
                }
                Step::Page(id, more) if filter.may_scan(EPOCH, Lsn(watermark)) => {
                    let shows = |lsn: u64| {
                        lsn <= watermark || more >> (lsn - watermark - 1).min(15) & 1 == 1
                    };
                    seen = (1..=16).rev().find(|lsn| shows(*lsn)).unwrap_or(0).max(seen);
                    let exists = rows(&shows) >> id & 1 == 1;
                    if let Some(scan) = scan {
                        let _ = filter.add_scanned(scan, exists.then(|| key(id)).as_ref());
                    }
                    pages |= 1 << id;
                }
                Step::End if pages == 7 => {
                    if let Some(scan) = scan.take() {
                        let _ = filter.finish_scan(scan, Lsn(seen));
                    }
                }
                Step::Page(..) | Step::End => {}
                Step::Clear => filter.clear(),
            }
            for id in 0..3 {
                let Some(from) = filter.absent(EPOCH, Lsn(applied), &key(id)) else { continue };
                for at in from.0..=applied {
                    let there = rows(&|lsn| lsn <= at) >> id & 1 == 1;
                    prop_assert!(!there, "key {id} has a row at {at}");
                }
            }
        }
    }
}
