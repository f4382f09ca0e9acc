//! The batches that were applied last, for a tier that comes back at an older position.
//!
//! A promoted replica may miss the last batches that its primary took; its position shows which. The
//! leader replays them, after which the replica is where its predecessor was and its entries stay
//! proven. If the buffer no longer holds all of them, the epoch must be reset.

use std::collections::VecDeque;

use crate::event::{Batch, Event};
use crate::position::{Epoch, Lsn};

/// The last batches of one epoch, without gaps between them.
#[derive(Clone, Debug)]
pub struct ReplayBuffer {
    batches: VecDeque<Batch>,
    subjects: usize,
    most: usize,
}

impl ReplayBuffer {
    /// Returns a buffer for batches with at most `most` subjects in total.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { batches: VecDeque::new(), subjects: 0, most }
    }

    /// Drops all batches.
    pub fn clear(&mut self) {
        self.batches.clear();
        self.subjects = 0;
    }

    /// Adds a batch that was applied. A batch that does not continue the last one replaces all others.
    pub fn push(&mut self, batch: &Batch) {
        let continued = self
            .batches
            .back()
            .is_some_and(|last| last.epoch == batch.epoch && last.upto == batch.prev);
        if !continued {
            self.clear();
        }
        if batch.events.is_empty()
            && let Some(last) = self.batches.back_mut()
        {
            last.upto = last.upto.max(batch.upto);
            last.watermark = last.watermark.max(batch.watermark);
            return;
        }
        // A replayed event only invalidates: its renewals are not kept.
        let events = batch.events.iter().map(|event| Event {
            subjects: event.subjects.clone(),
            renewals: Vec::new(),
            ..*event
        });
        let batch = Batch { events: events.collect(), ..*batch };
        self.subjects += weight(&batch);
        self.batches.push_back(batch);
        while self.subjects > self.most
            && let Some(first) = self.batches.pop_front()
        {
            self.subjects -= weight(&first);
        }
    }

    /// Returns the batches, in order, that bring a tier of `epoch` from position `applied` to the end
    /// of the last batch. `None` if the buffer does not hold all of them.
    #[must_use]
    pub fn since(&self, epoch: Epoch, applied: Lsn) -> Option<impl Iterator<Item = &Batch>> {
        let last = self.batches.back()?;
        let missing = self.batches.partition_point(|batch| batch.upto <= applied);
        let whole = self.batches.get(missing).is_none_or(|first| first.prev <= applied);
        (last.epoch == epoch && whole).then(|| self.batches.range(missing..))
    }
}

/// The memory of a batch, in subjects; an event without subjects takes room too.
fn weight(batch: &Batch) -> usize {
    batch.events.iter().map(|event| event.subjects.len() + 1).sum::<usize>() + 1
}

#[cfg(test)]
mod tests {
    use contract::Key;
    use proptest::prelude::*;

    use super::*;
    use crate::event::{Cause, Subject};
    use crate::tier::coverage::CoverageDigest;
    use crate::tier::fence::Fence;

    const EPOCH: Epoch = Epoch { system: 1, timeline: 1, server: 1, incarnation: 1 };

    fn key(n: u8) -> Key {
        Key::parse(&format!("v1:catalog:price:{n}")).expect("a key")
    }

    /// One commit on key `n`, or none.
    fn batch(prev: u64, upto: u64, n: Option<u8>) -> Batch {
        let event = |n| Event {
            lsn: Lsn(upto),
            cause: Cause::Commit,
            committed_us: 0,
            subjects: vec![Subject::Key(key(n))],
            renewals: Vec::new(),
        };
        let (prev, upto) = (Lsn(prev), Lsn(upto));
        let events = n.into_iter().map(event).collect();
        Batch { epoch: EPOCH, prev, upto, watermark: upto, coverage: CoverageDigest::NONE, events }
    }

    #[test]
    fn race_21_promoted_replica_replayed() {
        let mut buffer = ReplayBuffer::new(100);
        for upto in 11..20 {
            buffer.push(&batch(upto - 1, upto, Some(1)));
        }
        let replayed: Vec<_> = buffer.since(EPOCH, Lsn(17)).expect("known").collect();
        assert_eq!(replayed, [&batch(17, 18, Some(1)), &batch(18, 19, Some(1))]);
        assert_eq!(buffer.since(EPOCH, Lsn(19)).expect("known").count(), 0);
        assert!(buffer.since(EPOCH, Lsn(9)).is_none(), "the buffer begins at 10");
        let other = Epoch { incarnation: 2, ..EPOCH };
        assert!(buffer.since(other, Lsn(17)).is_none());
    }

    #[test]
    fn gap_or_other_epoch_clears() {
        let mut buffer = ReplayBuffer::new(100);
        buffer.push(&batch(10, 11, Some(1)));
        buffer.push(&batch(12, 13, Some(1)));
        assert!(buffer.since(EPOCH, Lsn(11)).is_none());
        assert!(buffer.since(EPOCH, Lsn(12)).is_some());
        buffer.clear();
        assert!(buffer.since(EPOCH, Lsn(13)).is_none(), "the buffer is empty");
    }

    #[test]
    fn heartbeats_take_no_room() {
        let mut buffer = ReplayBuffer::new(100);
        for upto in 11..1_000 {
            buffer.push(&batch(upto - 1, upto, None));
        }
        assert_eq!(buffer.batches.len(), 1);
        assert!(buffer.since(EPOCH, Lsn(500)).is_some());
    }

    proptest! {
        /// A tier that is restored to an earlier state and replayed equals one that was never restored;
        /// where the buffer no longer reaches back so far, it offers no replay.
        #[test]
        fn replayed_tier_equals_original(
            commits in proptest::collection::vec((1_u64..3, proptest::option::of(0_u8..4)), 1..30),
            back_to in 0_usize..30,
            most in 1_usize..30,
        ) {
            let mut fence = Fence::default();
            fence.reset_epoch(EPOCH, Lsn(10), Lsn(10));
            let mut buffer = ReplayBuffer::new(most);
            let mut states = vec![fence.clone()];
            let mut at = 10;
            for (step, n) in commits {
                let batch = batch(at, at + step, n);
                at += step;
                fence.apply(&batch).expect("no gap");
                buffer.push(&batch);
                states.push(fence.clone());
            }
            let mut older = states[back_to.min(states.len() - 1)].clone();
            let replayed: Option<Vec<_>> =
                buffer.since(EPOCH, older.applied()).map(|replayed| replayed.cloned().collect());
            if let Some(replayed) = replayed {
                for batch in replayed {
                    prop_assert_eq!(older.apply(&batch), Ok(()));
                }
                prop_assert_eq!(older, fence);
            }
        }
    }
}
