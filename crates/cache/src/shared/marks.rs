//! Eviction by tag without an index of tags.
//!
//! Each entry is stamped with the number of evictions before it was stored; evicting a tag notes
//! the new number under it. An entry whose stamp is below the number of one of its tags is gone.
//! Unlike a tombstone this says nothing about the log: a fill that comes later is not refused.

use std::collections::{BTreeSet, HashMap};

use contract::Tag;

/// More evicted tags than this are not kept apart; the oldest then fell everything stored before
/// them. (At 100 different tags a second: entries older than a quarter of an hour.)
pub(super) const LIMIT: usize = 100_000;

/// The evictions of one tier.
#[derive(Clone, Debug, Default)]
pub(super) struct Marks {
    count: u64,
    /// Entries with a lower stamp are gone, whatever their tags.
    floor: u64,
    tags: HashMap<Tag, u64>,
    oldest: BTreeSet<(u64, Tag)>,
}

impl Marks {
    /// The stamp for an entry that is stored now.
    pub(super) fn stamp(&self) -> u64 {
        self.count
    }

    /// Whether an entry with this stamp is gone.
    pub(super) fn evicted(&self, stamp: u64, tags: &[Tag]) -> bool {
        let marked = |tag: &Tag| self.tags.get(tag).is_some_and(|mark| stamp < *mark);
        stamp < self.floor || (stamp < self.count && tags.iter().any(marked))
    }

    /// Evicts everything that was stored so far.
    pub(super) fn evict_everything(&mut self) {
        self.count += 1;
        self.floor = self.count;
    }

    /// Evicts whatever carries one of these tags.
    pub(super) fn evict<'a>(&mut self, tags: impl IntoIterator<Item = &'a Tag>) {
        self.count += 1;
        for tag in tags {
            if let Some(old) = self.tags.insert(tag.clone(), self.count) {
                self.oldest.remove(&(old, tag.clone()));
            }
            self.oldest.insert((self.count, tag.clone()));
        }
        while self.tags.len() > LIMIT
            && let Some((mark, tag)) = self.oldest.pop_first()
        {
            self.tags.remove(&tag);
            self.floor = self.floor.max(mark);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(n: usize) -> Tag {
        Tag::parse(&format!("t{n}")).expect("a tag")
    }

    #[test]
    fn an_eviction_reaches_back_but_not_forward() {
        let mut marks = Marks::default();
        let before = marks.stamp();
        marks.evict([&tag(1)]);
        assert!(marks.evicted(before, &[tag(0), tag(1)]));
        assert!(!marks.evicted(before, &[tag(0)]));
        assert!(!marks.evicted(marks.stamp(), &[tag(1)]));
        marks.evict_everything();
        assert!(marks.evicted(before, &[]));
    }

    #[test]
    fn forgotten_marks_keep_their_effect() {
        let mut marks = Marks::default();
        let before = marks.stamp();
        for n in 0..=LIMIT {
            marks.evict([&tag(n)]);
        }
        assert_eq!(marks.tags.len(), LIMIT);
        assert_eq!(marks.oldest.len(), LIMIT);
        assert!(marks.evicted(before, &[tag(0)]));
    }
}
