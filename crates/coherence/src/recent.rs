//! What was applied lately, for a tier that comes back older than it was.
//!
//! A replica that is promoted may miss the last batches that its primary took. It shows by its
//! position which; told again, it stands where its predecessor stood, and what it holds stays
//! proven. Where too much is missing, a new history has to begin.

use std::collections::VecDeque;

use crate::event::{Batch, Event};
use crate::position::{Epoch, Lsn};

/// The last batches of one history, without gaps between them.
#[derive(Clone, Debug)]
pub struct Recent {
    batches: VecDeque<Batch>,
    subjects: usize,
    most: usize,
}

impl Recent {
    /// Remembers batches that name at most `most` subjects together.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { batches: VecDeque::new(), subjects: 0, most }
    }

    /// Nothing is known any more.
    pub fn clear(&mut self) {
        self.batches.clear();
        self.subjects = 0;
    }

    /// The batch was applied. One that does not continue the last one begins anew.
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
        // Told again, an event only takes away: what it made of a row is not kept.
        let events = batch.events.iter().map(|event| Event {
            subjects: event.subjects.clone(),
            renewals: Vec::new(),
            ..*event
        });
        let batch = Batch { events: events.collect(), ..*batch };
        self.subjects += subjects(&batch);
        self.batches.push_back(batch);
        while self.subjects > self.most
            && let Some(first) = self.batches.pop_front()
        {
            self.subjects -= subjects(&first);
        }
    }

    /// What a tier of history `epoch` that has applied `applied` has to be told, in order, to stand
    /// where the last batch ends. `None`: not all of that is known any more.
    #[must_use]
    pub fn since(&self, epoch: Epoch, applied: Lsn) -> Option<impl Iterator<Item = &Batch>> {
        let last = self.batches.back()?;
        let missing = self.batches.partition_point(|batch| batch.upto <= applied);
        let whole = self.batches.get(missing).is_none_or(|first| first.prev <= applied);
        (last.epoch == epoch && whole).then(|| self.batches.range(missing..))
    }
}

/// What a batch weighs: an event without subjects takes room too.
fn subjects(batch: &Batch) -> usize {
    batch.events.iter().map(|event| event.subjects.len() + 1).sum::<usize>() + 1
}

#[cfg(test)]
mod tests {
    use contract::Key;
    use proptest::prelude::*;

    use super::*;
    use crate::event::{Cause, Subject};
    use crate::fence::Fence;

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
        Batch { epoch: EPOCH, prev, upto, watermark: upto, events }
    }

    #[test]
    fn race_21_what_a_promoted_replica_missed_is_told_again() {
        let mut recent = Recent::new(100);
        for upto in 11..20 {
            recent.push(&batch(upto - 1, upto, Some(1)));
        }
        let told: Vec<_> = recent.since(EPOCH, Lsn(17)).expect("known").collect();
        assert_eq!(told, [&batch(17, 18, Some(1)), &batch(18, 19, Some(1))]);
        assert_eq!(recent.since(EPOCH, Lsn(19)).expect("known").count(), 0);
        assert!(recent.since(EPOCH, Lsn(9)).is_none(), "what came before 10 is not known");
        let other = Epoch { incarnation: 2, ..EPOCH };
        assert!(recent.since(other, Lsn(17)).is_none());
    }

    #[test]
    fn a_gap_or_another_history_begins_anew() {
        let mut recent = Recent::new(100);
        recent.push(&batch(10, 11, Some(1)));
        recent.push(&batch(12, 13, Some(1)));
        assert!(recent.since(EPOCH, Lsn(11)).is_none());
        assert!(recent.since(EPOCH, Lsn(12)).is_some());
        recent.clear();
        assert!(recent.since(EPOCH, Lsn(13)).is_none(), "nothing is known");
    }

    #[test]
    fn silence_takes_no_room() {
        let mut recent = Recent::new(100);
        for upto in 11..1_000 {
            recent.push(&batch(upto - 1, upto, None));
        }
        assert_eq!(recent.batches.len(), 1);
        assert!(recent.since(EPOCH, Lsn(500)).is_some());
    }

    proptest! {
        /// A tier that went back to any of its states, and was told again, refuses and drops what
        /// one does that never went back; if that is not possible, it is not tried.
        #[test]
        fn told_again_a_tier_stands_where_it_stood(
            commits in proptest::collection::vec((1_u64..3, proptest::option::of(0_u8..4)), 1..30),
            back_to in 0_usize..30,
            most in 1_usize..30,
        ) {
            let mut fence = Fence::default();
            fence.incarnate(EPOCH, Lsn(10), Lsn(10));
            let mut recent = Recent::new(most);
            let mut states = vec![fence.clone()];
            let mut at = 10;
            for (step, n) in commits {
                let batch = batch(at, at + step, n);
                at += step;
                fence.apply(&batch).expect("no gap");
                recent.push(&batch);
                states.push(fence.clone());
            }
            let mut older = states[back_to.min(states.len() - 1)].clone();
            let told: Option<Vec<_>> =
                recent.since(EPOCH, older.applied()).map(|told| told.cloned().collect());
            if let Some(told) = told {
                for batch in told {
                    prop_assert_eq!(older.apply(&batch), Ok(()));
                }
                prop_assert_eq!(older, fence);
            }
        }
    }
}
