//! Divides a batch into chunks, so that no script runs long: Redis serves no other call meanwhile.

use std::borrow::Cow;

use coherence::{Batch, Event, Lsn, Renewal, Subject};

/// Subjects per chunk: about a millisecond of Redis's time.
pub(super) const MAX_SUBJECTS: usize = 1_000;

/// Returns the batch as a chain of chunks with at most [`MAX_SUBJECTS`] each.
///
/// A chunk advances the position only past events that are contained in it, or in the ones before it, as
/// a whole. The tombstones of a commit that is divided are raised early, which is harmless. If the chain
/// breaks off in the middle, the batch is applied again from its beginning.
pub(super) fn chunks(batch: &Batch) -> Vec<Cow<'_, Batch>> {
    let subjects = |event: &Event| event.subjects.len();
    if batch.events.iter().map(subjects).sum::<usize>() <= MAX_SUBJECTS {
        return vec![Cow::Borrowed(batch)];
    }
    let mut chunks = Vec::new();
    let mut chunk = Batch { events: Vec::new(), ..*batch };
    let mut room = MAX_SUBJECTS;
    for (at, event) in batch.events.iter().enumerate() {
        let mut rest = event.subjects.as_slice();
        loop {
            let (now, later) = rest.split_at(rest.len().min(room));
            if !now.is_empty() || event.subjects.is_empty() {
                chunk.events.push(part(event, now));
            }
            room -= now.len();
            rest = later;
            if rest.is_empty() {
                break;
            }
            chunk.upto = covered(batch, at).max(chunk.prev);
            let next = Batch { prev: chunk.upto, events: Vec::new(), ..chunk };
            chunks.push(Cow::Owned(std::mem::replace(&mut chunk, next)));
            room = MAX_SUBJECTS;
        }
    }
    chunk.upto = batch.upto;
    chunks.push(Cow::Owned(chunk));
    chunks
}

/// Returns the part of an event that concerns `subjects`.
fn part(event: &Event, subjects: &[Subject]) -> Event {
    if subjects.len() == event.subjects.len() {
        return event.clone();
    }
    let about = |renewal: &&Renewal| subjects.contains(&Subject::Key(renewal.key.clone()));
    Event {
        subjects: subjects.to_vec(),
        renewals: event.renewals.iter().filter(about).cloned().collect(),
        ..*event
    }
}

/// Returns the position before all events from `at` on.
fn covered(batch: &Batch, at: usize) -> Lsn {
    let left = batch.events[at..].iter().map(|event| event.lsn.0.saturating_sub(1)).min();
    Lsn(left.unwrap_or(batch.upto.0).clamp(batch.prev.0, batch.upto.0.max(batch.prev.0)))
}

#[cfg(test)]
mod tests {
    use coherence::{Cause, CoverageDigest, Epoch, Fence};
    use contract::{Key, Tag};
    use proptest::prelude::*;

    use super::*;

    fn batch(sizes: &[usize]) -> Batch {
        let event = |(at, size): (usize, &usize)| Event {
            lsn: Lsn(101 + at as u64),
            cause: Cause::Commit,
            committed_us: 0,
            subjects: (0..*size).map(|n| Subject::Tag(tag(n))).collect(),
            renewals: Vec::new(),
        };
        let upto = Lsn(110 + sizes.len() as u64);
        let events = sizes.iter().enumerate().map(event).collect();
        Batch {
            epoch: Epoch::default(),
            prev: Lsn(100),
            upto,
            watermark: Lsn(90),
            coverage: CoverageDigest::NONE,
            events,
        }
    }

    fn tag(n: usize) -> Tag {
        Tag::parse(&format!("t{n}")).expect("a tag")
    }

    #[test]
    fn small_batch_not_divided() {
        let small = batch(&[1, 0, 2]);
        assert_eq!(chunks(&small), [Cow::Borrowed(&small)]);
    }

    #[test]
    fn divided_commit_counts_at_its_end() {
        let parts =
            chunks(&batch(&[600, 900])).into_iter().map(Cow::into_owned).collect::<Vec<_>>();
        let [first, second] = parts.as_slice() else { panic!("{} chunks", parts.len()) };
        assert_eq!((first.prev, first.upto), (Lsn(100), Lsn(101)), "102 is divided");
        assert_eq!((second.prev, second.upto), (Lsn(101), Lsn(112)));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        /// All chunks together have the effect of the batch, and each one alone is true.
        #[test]
        fn chunks_equal_the_batch(sizes in proptest::collection::vec(0..1_500_usize, 0..5)) {
            let whole = batch(&sizes);
            let mut expected = Fence::default();
            expected.reset_epoch(Epoch::default(), Lsn(100), Lsn(0));
            let mut fence = expected.clone();
            expected.apply(&whole).expect("no gap");
            let key = Key::parse("v1:a:b:c").expect("a key");
            for chunk in chunks(&whole) {
                prop_assert!(chunk.events.iter().map(|e| e.subjects.len()).sum::<usize>() <= MAX_SUBJECTS);
                fence.apply(&chunk).expect("the chunks chain");
                for (at, size) in sizes.iter().enumerate() {
                    let lsn = 101 + at as u64;
                    let hit = (0..*size).all(|n| !fence.stands(&key, &[tag(n)], Lsn(lsn - 1)));
                    prop_assert!(fence.applied() < Lsn(lsn) || hit);
                }
            }
            prop_assert_eq!(fence, expected);
        }
    }
}
