//! Eviction by tag or wildcard without a visit of the entries.
//!
//! Each entry is stamped with the number of evictions before it was stored. The eviction of a tag stores
//! its own number under the tag. An entry is evicted if its stamp is below the number of one of its tags, or of
//! a wildcard that names it. Unlike a tombstone this has no position in the log: a later fill is not refused.

use std::collections::{BTreeSet, HashMap, VecDeque};

use coherence::Subject;
use contract::{Key, Tag};

/// The number of evicted tags that are stored. The oldest ones beyond it evict every entry stored before
/// them. (At 100 different tags a second: entries older than a quarter of an hour.)
pub(super) const LIMIT: usize = 100_000;

/// The number of evicted wildcards that are stored, since each is compared with the entries that are read. The
/// oldest ones beyond it evict every entry stored before them.
const MAX_WILDCARDS: usize = 32;

/// The evictions of one tier.
#[derive(Clone, Debug, Default)]
pub(super) struct EvictionStamps {
    count: u64,
    /// Entries with a lower stamp are evicted, independent of their tags.
    floor: u64,
    tags: HashMap<Tag, u64>,
    oldest: BTreeSet<(u64, Tag)>,
    wildcards: VecDeque<(u64, Subject)>,
}

impl EvictionStamps {
    /// Returns the stamp for an entry that is stored now.
    pub(super) fn next(&self) -> u64 {
        self.count
    }

    /// Whether an entry with this stamp is evicted.
    pub(super) fn is_evicted(&self, stamp: u64, key: &Key, tags: &[Tag]) -> bool {
        let is_older = |tag: &Tag| self.tags.get(tag).is_some_and(|number| stamp < *number);
        let is_named =
            |(number, wildcard): &(u64, Subject)| stamp < *number && wildcard.concerns(key, tags);
        stamp < self.floor
            || stamp < self.count
                && (tags.iter().any(is_older) || self.wildcards.iter().any(is_named))
    }

    /// Evicts every entry that the wildcard names.
    pub(super) fn evict_wildcard(&mut self, wildcard: &Subject) {
        self.count += 1;
        self.wildcards.push_back((self.count, wildcard.clone()));
        if self.wildcards.len() > MAX_WILDCARDS
            && let Some((number, _)) = self.wildcards.pop_front()
        {
            self.floor = self.floor.max(number);
        }
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

    fn key() -> Key {
        Key::parse("v1:a:b:c").expect("a key")
    }

    #[test]
    fn eviction_leaves_later_entries() {
        let mut stamps = EvictionStamps::default();
        let before = stamps.next();
        stamps.evict([&tag(1)]);
        assert!(stamps.is_evicted(before, &key(), &[tag(0), tag(1)]));
        assert!(!stamps.is_evicted(before, &key(), &[tag(0)]));
        assert!(!stamps.is_evicted(stamps.next(), &key(), &[tag(1)]));
        stamps.evict_everything();
        assert!(stamps.is_evicted(before, &key(), &[]));
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
        assert!(stamps.is_evicted(before, &key(), &[tag(0)]));
    }

    #[test]
    fn wildcard_evicts_earlier_entries_it_names() {
        let mut stamps = EvictionStamps::default();
        let before = stamps.next();
        let wildcard = |text: &str| text.parse::<Subject>().expect(text);
        stamps.evict_wildcard(&wildcard("t*:t1*"));
        let between = stamps.next();
        assert!(stamps.is_evicted(before, &key(), &[tag(12)]));
        assert!(!stamps.is_evicted(before, &key(), &[tag(2)]));
        assert!(!stamps.is_evicted(between, &key(), &[tag(12)]));
        for n in 0..MAX_WILDCARDS {
            stamps.evict_wildcard(&wildcard(&format!("k*:v1:x{n}*")));
        }
        assert!(stamps.is_evicted(before, &key(), &[]), "the dropped one raises the floor");
        assert!(!stamps.is_evicted(between, &key(), &[]));
    }
}
