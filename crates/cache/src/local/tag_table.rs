//! The table from tags to their numbers in the [index](super::tag_index).
//!
//! A slot has a part of its tag's hash, so that the table grows without reading a tag. The text of each tag is a
//! memory access of its own, and the tier's mutex is held meanwhile.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

/// A table with room for fewer tags is not made smaller.
const MIN_TAGS: usize = 8_192;

#[derive(Clone, Copy, Debug)]
struct Slot {
    hash: u32,
    number: u32,
}

/// The numbers of tags. The tags themselves are stored where the numbers point to.
#[derive(Debug, Default)]
pub(super) struct TagTable {
    slots: HashTable<Slot>,
    hasher: RandomState,
}

impl TagTable {
    /// Returns the number of `tag`. `has`: whether the tag of a number is this one.
    pub(super) fn find(&self, tag: &str, mut has: impl FnMut(u32) -> bool) -> Option<u32> {
        let hash = self.hash(tag);
        let is_it = |slot: &Slot| slot.hash == hash && has(slot.number);
        self.slots.find(spread(hash), is_it).map(|slot| slot.number)
    }

    /// Adds a tag that has no number.
    pub(super) fn insert(&mut self, tag: &str, number: u32) {
        let hash = self.hash(tag);
        self.slots.insert_unique(spread(hash), Slot { hash, number }, |slot| spread(slot.hash));
    }

    /// Gives a tag another number.
    pub(super) fn renumber(&mut self, tag: &str, from: u32, to: u32) {
        let hash = spread(self.hash(tag));
        if let Some(slot) = self.slots.find_mut(hash, |slot| slot.number == from) {
            slot.number = to;
        }
    }

    /// Removes a tag.
    pub(super) fn remove(&mut self, tag: &str, number: u32) {
        let hash = spread(self.hash(tag));
        if let Ok(slot) = self.slots.find_entry(hash, |slot| slot.number == number) {
            slot.remove();
        }
        // After a purge the table would keep the memory of all tags that it has had.
        let (room, used) = (self.slots.capacity(), self.slots.len());
        if room > MIN_TAGS && room / 64 > used {
            self.slots.shrink_to(used * 2, |slot| spread(slot.hash));
        }
    }

    /// Returns the number of tags.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    fn hash(&self, tag: &str) -> u32 {
        self.hasher.hash_one(tag) as u32
    }
}

/// Returns the hash for the table, which takes the bucket from the low bits and compares the highest.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_follow_their_tags() {
        let tags: Vec<String> = (0..20_000).map(|n| format!("tag-{n}")).collect();
        let mut table = TagTable::default();
        for (number, tag) in (0..).zip(&tags) {
            assert_eq!(table.find(tag, |at| &tags[at as usize] == tag), None);
            table.insert(tag, number);
        }
        let room = table.slots.capacity();
        table.renumber(&tags[7], 7, 70_000);
        assert_eq!(table.find(&tags[7], |at| at == 70_000), Some(70_000));
        for (number, tag) in (0..).zip(&tags).filter(|(number, _)| *number != 7) {
            assert_eq!(table.find(tag, |at| &tags[at as usize] == tag), Some(number));
            table.remove(tag, number);
        }
        assert_eq!(table.len(), 1);
        assert!(table.slots.capacity() < room / 8, "the memory is given back");
        assert_eq!(table.find(&tags[7], |at| at == 70_000), Some(70_000));
    }
}
