//! Eviction by tag without an index of tags.
//!
//! Each entry is stamped with the number of evictions before it was stored. The eviction of a tag stores
//! its own number under the tag. An entry is evicted if its stamp is below the number of one of its tags.
//! Unlike a tombstone this has no position in the log: a later fill is not refused.

use std::collections::{BTreeSet, HashMap};

use contract::Tag;

/// The number of evicted tags that are stored. The oldest ones beyond it evict every entry stored before
/// them. (At 100 different tags a second: entries older than a quarter of an hour.)
pub(super) const LIMIT: usize = 100_000;

/// The evictions of one tier.
#[derive(Clone, Debug, Default)]
pub(super) struct EvictionStamps {
    count: u64,
    /// Entries with a lower stamp are evicted, independent of their tags.
    floor: u64,
    tags: HashMap<Tag, u64>,
    oldest: BTreeSet<(u64, Tag)>,
}

impl EvictionStamps {
    /// Returns the stamp for an entry that is stored now.
    pub(super) fn next(&self) -> u64 {
        self.count
    }

    /// Whether an entry with this stamp is evicted.
    pub(super) fn is_evicted(&self, stamp: u64, tags: &[Tag]) -> bool {
        let is_older = |tag: &Tag| self.tags.get(tag).is_some_and(|number| stamp < *number);
        stamp < self.floor || (stamp < self.count && tags.iter().any(is_older))
    }

    /// Evicts every entry stored so far.
    pub(super) fn evict_everything(&mut self) {
        self.count += 1;
        self.floor = self.count;
    }

    /// Evicts every entry with one of these tags.
    pub(super) fn evict<'a>(&mut self, tags: impl IntoIterator<Item = &'a Tag>) {
        self.count += 1;
        for tag in tags {
            if let Some(old) = self.tags.insert(tag.clone(), self.count) {
                self.oldest.remove(&(old, tag.clone()));
            }
            self.oldest.insert((self.count, tag.clone()));
        }
        while self.tags.len() > LIMIT
            && let Some((number, tag)) = self.oldest.pop_first()
        {
            self.tags.remove(&tag);
            self.floor = self.floor.max(number);
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
    fn eviction_leaves_later_entries() {
        let mut stamps = EvictionStamps::default();
        let before = stamps.next();
        stamps.evict([&tag(1)]);
        assert!(stamps.is_evicted(before, &[tag(0), tag(1)]));
        assert!(!stamps.is_evicted(before, &[tag(0)]));
        assert!(!stamps.is_evicted(stamps.next(), &[tag(1)]));
        stamps.evict_everything();
        assert!(stamps.is_evicted(before, &[]));
    }

    #[test]
    fn dropped_tags_raise_the_floor() {
        let mut stamps = EvictionStamps::default();
        let before = stamps.next();
        for n in 0..=LIMIT {
            stamps.evict([&tag(n)]);
        }
        assert_eq!(stamps.tags.len(), LIMIT);
        assert_eq!(stamps.oldest.len(), LIMIT);
        assert!(stamps.is_evicted(before, &[tag(0)]));
    }
}
