//! Numbered items in chunks.
//!
//! A `Vec` that grows copies all items while the tier's mutex is held, has up to half of its memory unused, and
//! never gives any back. Chunks grow by one, and the memory of a chunk without items is freed.

use std::ops::{Index, IndexMut};
use std::vec;

/// The number of no item.
pub(super) const NONE: u32 = u32::MAX;

/// The number of items that a slab has room for: its numbers leave the highest bit to the caller.
const MOST: u32 = NONE >> 1;

/// The items per chunk.
const CHUNK: usize = 512;

#[derive(Debug)]
enum Slot<T> {
    Item(T),
    /// The next free slot of the chunk.
    Free(u32),
}

#[derive(Debug)]
struct Chunk<T> {
    /// Grows up to [`CHUNK`] slots.
    slots: Vec<Slot<T>>,
    /// The first free slot among them.
    free: u32,
    used: usize,
    /// Whether it is in [`Slab::roomy`].
    is_roomy: bool,
}

/// The items. A number is used again after its item was removed.
#[derive(Debug)]
pub(super) struct Slab<T> {
    chunks: Vec<Chunk<T>>,
    /// The chunks that are not full.
    roomy: Vec<usize>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { chunks: Vec::new(), roomy: Vec::new() }
    }
}

impl<T> Chunk<T> {
    fn insert(&mut self, item: T) -> usize {
        self.used += 1;
        if self.free == NONE {
            if self.slots.capacity() == 0 {
                self.slots.reserve_exact(CHUNK);
            }
            self.slots.push(Slot::Item(item));
            return self.slots.len() - 1;
        }
        let at = self.free as usize;
        if let Slot::Free(next) = std::mem::replace(&mut self.slots[at], Slot::Item(item)) {
            self.free = next;
        }
        at
    }

    fn remove(&mut self, at: usize) -> Option<T> {
        let slot = self.slots.get_mut(at)?;
        match std::mem::replace(slot, Slot::Free(self.free)) {
            Slot::Item(item) => {
                (self.free, self.used) = (at as u32, self.used - 1);
                Some(item)
            }
            free @ Slot::Free(_) => {
                *slot = free;
                None
            }
        }
    }
}

impl<T> Slab<T> {
    /// Adds an item and returns its number.
    ///
    /// # Panics
    /// There are 2^31 - 1 items already, which takes more memory than the entries of a tier can have.
    pub(super) fn insert(&mut self, item: T) -> u32 {
        let at = self.roomy.last().copied().unwrap_or_else(|| {
            self.chunks.push(Chunk { slots: Vec::new(), free: NONE, used: 0, is_roomy: true });
            self.roomy.push(self.chunks.len() - 1);
            self.chunks.len() - 1
        });
        let chunk = &mut self.chunks[at];
        let slot = chunk.insert(item);
        if chunk.used == CHUNK {
            chunk.is_roomy = false;
            self.roomy.pop();
        }
        let number = u32::try_from(at * CHUNK + slot).ok().filter(|number| *number < MOST);
        number.expect("memory ends before 2^31 - 1 items")
    }

    /// Removes an item.
    pub(super) fn remove(&mut self, number: u32) -> Option<T> {
        let (at, slot) = place(number);
        let chunk = self.chunks.get_mut(at)?;
        let item = chunk.remove(slot)?;
        if !std::mem::replace(&mut chunk.is_roomy, true) {
            self.roomy.push(at);
        }
        if chunk.used == 0 && self.roomy.len() > 1 {
            (chunk.slots, chunk.free) = (Vec::new(), NONE);
        }
        Some(item)
    }

    pub(super) fn get(&self, number: u32) -> Option<&T> {
        let (at, slot) = place(number);
        match self.chunks.get(at)?.slots.get(slot)? {
            Slot::Item(item) => Some(item),
            Slot::Free(_) => None,
        }
    }

    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        let (at, slot) = place(number);
        match self.chunks.get_mut(at)?.slots.get_mut(slot)? {
            Slot::Item(item) => Some(item),
            Slot::Free(_) => None,
        }
    }

    /// Returns the memory of the items, to be freed in parts.
    pub(super) fn discard(self) -> DiscardedSlab<T> {
        DiscardedSlab { chunks: self.chunks.into_iter() }
    }
}

fn place(number: u32) -> (usize, usize) {
    (number as usize / CHUNK, number as usize % CHUNK)
}

impl<T> Index<u32> for Slab<T> {
    type Output = T;

    fn index(&self, number: u32) -> &T {
        self.get(number).expect("numbers in the index are those of items")
    }
}

impl<T> IndexMut<u32> for Slab<T> {
    fn index_mut(&mut self, number: u32) -> &mut T {
        self.get_mut(number).expect("numbers in the index are those of items")
    }
}

/// The items of a slab that is not needed any more.
#[derive(Debug)]
pub(super) struct DiscardedSlab<T> {
    chunks: vec::IntoIter<Chunk<T>>,
}

impl<T> DiscardedSlab<T> {
    /// Frees at least `count` items. Returns whether there are more.
    pub(super) fn free(&mut self, count: usize) -> bool {
        self.chunks.by_ref().take(count.div_ceil(CHUNK)).for_each(drop);
        self.chunks.len() > 0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    impl<T> Slab<T> {
        fn capacity(&self) -> usize {
            self.chunks.iter().map(|chunk| chunk.slots.capacity()).sum()
        }
    }

    #[test]
    fn chunk_without_items_is_freed() {
        let mut slab = Slab::default();
        let numbers: Vec<u32> = (0..10 * CHUNK).map(|n| slab.insert(n)).collect();
        assert_eq!(slab.capacity(), 10 * CHUNK);
        for number in &numbers {
            assert!(slab.remove(*number).is_some() && slab.remove(*number).is_none());
        }
        assert!(slab.capacity() <= CHUNK, "one chunk is kept");
        assert_eq!(slab.get(numbers[7]), None);
        let again: Vec<u32> = (0..10 * CHUNK).map(|n| slab.insert(n)).collect();
        assert_eq!((slab.capacity(), slab.chunks.len()), (10 * CHUNK, 10));
        assert!(again.iter().enumerate().all(|(n, number)| slab[*number] == n));
    }

    #[test]
    fn discarded_items_are_freed_in_parts() {
        let mut slab = Slab::default();
        for n in 0..3 * CHUNK {
            slab.insert(n);
        }
        let mut discarded = slab.discard();
        assert!(discarded.free(1) && discarded.free(1) && !discarded.free(1));
    }

    proptest! {
        #[test]
        fn items_keep_their_numbers(steps in proptest::collection::vec(0..1_200_usize, 1..3_000)) {
            let (mut slab, mut expected) = (Slab::default(), BTreeMap::new());
            for (value, step) in steps.into_iter().enumerate() {
                match expected.keys().nth(step).copied() {
                    Some(number) if step < 500 => {
                        prop_assert_eq!(slab.remove(number), expected.remove(&number));
                    }
                    _ => prop_assert_eq!(expected.insert(slab.insert(value), value), None),
                }
            }
            for (number, value) in &expected {
                prop_assert_eq!(slab.get(*number), Some(value));
            }
        }
    }
}
