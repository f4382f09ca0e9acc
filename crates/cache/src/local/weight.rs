//! The memory that an entry takes, with the allocator's overhead.

use quick_cache::Weighter;

use super::blocks::block;
use super::entry::{EntryFields, LocalEntry};
use super::extension::{Cells, EntryExtension, RareParts};
use super::packed::Outside;
use super::stored_key::StoredKey;

/// The store's own part of an entry in bytes: a slab slot with list links, a hash table slot, and the holes that
/// evictions leave. Measured with the benchmark `memory`, as are the two below.
const SLOT: usize = 64;

/// A tag that no other entry had before: its sole link in the index, and a table slot.
const PER_SOLE_TAG: usize = 42;

/// A tag of several entries: a link in the index, and the part of the tag's group that falls to an entry.
const PER_SHARED_TAG: usize = 40;

/// The two counters of an `Arc`, in bytes.
const COUNTERS: usize = 16;

/// The counter of an entry and the length of its packed parts, in bytes.
const ENTRY_COUNTERS: usize = 16;

/// The shared part of a cloned `Bytes`, in bytes.
const SHARED_PART: usize = 24;

/// Returns the bytes of a value and of tags that are outside of their entry.
fn outside_weight(outside: &Outside) -> usize {
    let texts = outside.tags.iter().map(|tag| block(COUNTERS + tag.as_str().len())).sum::<usize>();
    let list = block(COUNTERS + size_of_val(&*outside.tags));
    // Head and body are in one buffer.
    let value = match outside.value.head.len() + outside.value.body.len() {
        0 => 0,
        bytes => block(bytes) + block(SHARED_PART),
    };
    block(size_of::<Outside>()) + value + if outside.tags.is_empty() { 0 } else { list + texts }
}

/// Returns the bytes of the parts that most entries do not have.
fn rare_weight(rare: &RareParts) -> usize {
    let extension = rare.extension.as_deref().map_or(0, |_| block(size_of::<EntryExtension>()));
    let cells = match rare.cells.get() {
        Some(Cells::List(cells)) => block(size_of_val(&**cells)),
        Some(Cells::One(_)) | None => 0,
    };
    let outside = rare.outside.as_deref().map_or(0, outside_weight);
    block(size_of::<RareParts>()) + extension + cells + outside
}

/// Returns the bytes that a stored entry adds to the process.
pub(super) fn weight(entry: &LocalEntry) -> u64 {
    let (tags, shared) = (entry.tags().count(), entry.cells().len());
    let bytes = SLOT
        + block(ENTRY_COUNTERS + size_of::<EntryFields>() + entry.packed_len())
        + entry.rare_parts().map_or(0, rare_weight)
        + shared * PER_SHARED_TAG
        + tags.saturating_sub(shared) * PER_SOLE_TAG;
    bytes as u64
}

/// Weighs entries for the cache when they are inserted and removed.
#[derive(Clone, Copy, Debug)]
pub(super) struct EntryWeighter;

impl Weighter<StoredKey, LocalEntry> for EntryWeighter {
    fn weight(&self, _: &StoredKey, entry: &LocalEntry) -> u64 {
        weight(entry)
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
