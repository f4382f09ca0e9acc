//! The memory that an entry takes, with the allocator's overhead.

use std::sync::Arc;

use contract::Key;
use quick_cache::Weighter;

use super::entry::{EntryExtension, LocalEntry};
use crate::entry::{Content, Entry};

/// The cache's own part of an entry in bytes: a slab slot with list links, a hash table slot at the worst
/// load factor, and the unused space after the growth of either.
const SLOT: usize = 104;

/// Bytes per tag of an entry: a link in the index, and its tag's group, cell and hash table slot, with the
/// same allowances.
const PER_TAG: usize = 240;

/// The two counters of an `Arc`, in bytes.
const COUNTERS: usize = 16;

/// The shared part of a cloned `Bytes`, in bytes.
const SHARED_PART: usize = 24;

/// The size of an allocation with the allocator's header and rounding (glibc: 8 bytes, multiples of 16, at
/// least 32).
const fn chunk(len: usize) -> usize {
    let len = (len + 8 + 15) & !15;
    if len < 32 { 32 } else { len }
}

/// Returns the bytes that `entry` under `key` adds to the process.
fn weight(key: &Key, entry: &Entry) -> usize {
    let content = match &entry.content {
        Content::Present(value) => {
            let bytes = value.head.len() + value.body.len();
            if bytes == 0 { 0 } else { chunk(bytes) + chunk(SHARED_PART) }
        }
        Content::Absent | Content::Uncacheable => 0,
    };
    let tags = entry.tags.len();
    let list = if tags == 0 {
        0
    } else {
        chunk(COUNTERS + tags * size_of::<contract::Tag>()) + chunk(tags * size_of::<usize>())
    };
    let tag_texts: usize =
        entry.tags.iter().map(|tag| chunk(COUNTERS + tag.as_str().len()) + PER_TAG).sum();
    SLOT + chunk(COUNTERS + key.as_bytes().len())
        + chunk(COUNTERS + size_of::<LocalEntry>())
        + content
        + list
        + tag_texts
}

/// Weighs entries for the cache when they are inserted and removed.
#[derive(Clone, Copy, Debug)]
pub(super) struct EntryWeighter;

impl Weighter<Key, Arc<LocalEntry>> for EntryWeighter {
    fn weight(&self, key: &Key, entry: &Arc<LocalEntry>) -> u64 {
        let extension = if entry.is_extended() { chunk(size_of::<EntryExtension>()) } else { 0 };
        (weight(key, entry) + extension) as u64
    }
}

/// The division of a budget in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    /// Shards, each with a lock of its own.
    pub(super) shards: usize,
    /// The expected number of entries; sets how many evicted keys are remembered.
    pub(super) items: usize,
    /// The weight limit of all entries together, in bytes.
    pub(super) weight: u64,
}

/// Divides `bytes`. Leaves room for the memory of recently evicted keys, which the cache does not weigh.
pub(super) fn layout(bytes: u64) -> Layout {
    const TYPICAL_ENTRY: u64 = 2_048;
    const GHOST: u64 = 144;
    let items = (bytes / TYPICAL_ENTRY).max(64);
    // Half as many ghosts as entries are expected.
    let weight = bytes.saturating_sub(items / 2 * GHOST);
    let shards = std::thread::available_parallelism().map_or(4, |cores| cores.get() * 4);
    // Each shard has its share of the weight, and an entry must fit into one.
    let shards = shards.min(usize::try_from(bytes >> 22).unwrap_or(usize::MAX)).max(1);
    Layout { shards, items: usize::try_from(items).unwrap_or(usize::MAX), weight }
}
