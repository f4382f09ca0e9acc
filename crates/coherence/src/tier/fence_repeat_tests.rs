//! Batches that a tier receives again.

use std::collections::BTreeMap;

use contract::Key;
use proptest::prelude::*;

use super::*;
use crate::event::Cause;

const EPOCH: Epoch = Epoch { system: 1, timeline: 1, server: 1, incarnation: 1 };
const KEYS: u8 = 6;

fn key(id: u8) -> Key {
    Key::parse(&format!("v1:catalog:price:{id}")).expect("a key")
}

/// The commit at `lsn`, as leaders with these mappings map it: one key each, and one more for each mapping.
fn event(lsn: u64, mappings: u8) -> Event {
    let of =
        |mapping: u8| Subject::Key(key((lsn as u8).wrapping_mul(7).wrapping_add(mapping) % KEYS));
    Event {
        lsn: Lsn(lsn),
        cause: Cause::Commit,
        committed_us: 0,
        subjects: (0..=mappings).map(of).collect(),
        renewals: Vec::new(),
    }
}

fn batch(prev: u64, upto: u64, mappings: u8) -> Batch {
    Batch {
        epoch: EPOCH,
        prev: Lsn(prev),
        upto: Lsn(upto),
        watermark: Lsn(upto),
        coverage: CoverageDigest(u64::from(mappings)),
        events: (prev + 1..=upto).map(|lsn| event(lsn, mappings)).collect(),
    }
}

fn fence() -> Fence {
    let mut fence = Fence::default();
    fence.reset_epoch(EPOCH, Lsn(10), Lsn(10));
    fence
}

#[test]
fn applied_batch_is_a_repeat() {
    let mut fence = fence();
    assert_eq!(fence.follow(&batch(10, 12, 0), false), Followed::Applied);
    assert_eq!(fence.follow(&batch(10, 12, 0), true), Followed::Repeated);
    assert_eq!(fence.follow(&batch(11, 13, 0), true), Followed::Applied, "13 is new");
    assert_eq!(
        fence.follow(&Batch { events: Vec::new(), ..batch(12, 13, 0) }, true),
        Followed::Applied
    );
}

#[test]
fn applied_batch_with_new_mappings_is_new() {
    let mut fence = fence();
    assert_eq!(fence.follow(&batch(10, 12, 0), true), Followed::Applied);
    assert_eq!(fence.follow(&batch(10, 12, 1), true), Followed::Applied);
    assert_eq!(fence.follow(&batch(12, 13, 1), true), Followed::Applied);
    assert_eq!(fence.follow(&batch(12, 13, 1), true), Followed::Repeated);
    assert_eq!(fence.follow(&batch(11, 13, 1), true), Followed::Applied, "12 was mapped otherwise");
}

proptest! {
    /// Skipped repeats leave no trace: a fence that applies every batch that it receives judges alike.
    #[test]
    fn skipped_repeats_change_no_verdict(
        steps in proptest::collection::vec((0..4_u64, 0..4_u64, 0..3_u8, any::<bool>()), 1..40),
    ) {
        let (mut fence, mut end) = (fence(), 10);
        let mut newest: BTreeMap<Key, u64> = BTreeMap::new();
        for (back, forth, mappings, in_order) in steps {
            let prev = (end - back.min(end - 10)).max(10);
            let batch = batch(prev, prev + forth, mappings);
            let followed = fence.follow(&batch, in_order);
            prop_assert!(matches!(followed, Followed::Applied | Followed::Repeated));
            for event in &batch.events {
                for subject in &event.subjects {
                    let Subject::Key(key) = subject else { continue };
                    let newest = newest.entry(key.clone()).or_default();
                    *newest = event.lsn.0.max(*newest);
                }
            }
            end = end.max(prev + forth);
            prop_assert_eq!(fence.applied(), Lsn(end));
            for (key, newest) in &newest {
                for tau in 10..=end {
                    prop_assert_eq!(fence.stands(key, &[], Lsn(tau)), tau >= *newest, "{} {}", key, tau);
                }
            }
        }
    }
}
