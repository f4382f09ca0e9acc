//! The memory that an entry takes, with the allocator's overhead.

use std::sync::Arc;

use contract::{Key, Tag};
use quick_cache::Weighter;

use super::entry::{EntryExtension, LocalEntry, RareParts};
use crate::entry::Content;

/// The store's own part of an entry in bytes: a slab slot with list links, a hash table slot, and the holes that
/// evictions leave. Measured with the benchmark `memory`, as are the two below.
const SLOT: usize = 72;

/// A tag that no other entry had before: its sole link in the index, and a table slot.
const PER_SOLE_TAG: usize = 66;

/// A tag of several entries: a link in the index, and the part of the tag's group that falls to an entry.
const PER_SHARED_TAG: usize = 48;

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

/// Returns the bytes of a content.
fn content_weight(content: &Content) -> usize {
    match content {
        // Head and body are in one buffer.
        Content::Present(value) => match value.head.len() + value.body.len() {
            0 => 0,
            bytes => chunk(bytes) + chunk(SHARED_PART),
        },
        Content::Absent | Content::Uncacheable => 0,
    }
}

/// Returns the bytes of tags, with their parts of the index. `shared`: the number of those that other entries had
/// before.
fn tags_weight(tags: &[Tag], shared: usize) -> usize {
    if tags.is_empty() {
        return 0;
    }
    let texts: usize = tags.iter().map(|tag| chunk(COUNTERS + tag.as_str().len())).sum();
    let cells = if shared == 0 { 0 } else { chunk(shared * size_of::<usize>()) };
    chunk(COUNTERS + size_of_val(tags))
        + texts
        + cells
        + shared * PER_SHARED_TAG
        + tags.len().saturating_sub(shared) * PER_SOLE_TAG
}

/// Weighs entries for the cache when they are inserted and removed.
#[derive(Clone, Copy, Debug)]
pub(super) struct EntryWeighter;

impl Weighter<Key, Arc<LocalEntry>> for EntryWeighter {
    /// Returns the bytes that a stored entry under `key` adds to the process.
    fn weight(&self, key: &Key, entry: &Arc<LocalEntry>) -> u64 {
        let extension = |rare: &RareParts| {
            if rare.is_extended() { chunk(size_of::<EntryExtension>()) } else { 0 }
        };
        let rare = entry.rare_parts();
        let rare = rare.map_or(0, |rare| chunk(size_of::<RareParts>()) + extension(rare));
        let bytes = SLOT
            + chunk(COUNTERS + key.as_bytes().len())
            + chunk(COUNTERS + size_of::<LocalEntry>())
            + content_weight(&entry.content)
            + tags_weight(&entry.tags, entry.cells().len())
            + rare;
        bytes as u64
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
