//! What an entry costs in memory, to the allocator's last byte.

use std::sync::Arc;

use contract::Key;
use quick_cache::Weighter;

use super::Held;
use super::held::Aside;
use crate::entry::{Content, Entry};

/// The cache's own part of an entry: slab slot with list links, hash table slot at the worst load
/// factor, and what the growth of either leaves behind.
const SLOT: usize = 104;

/// A link in the index, its tag's group and hash table slot, with the same allowances.
const PER_TAG: usize = 160;

/// `Arc`'s two counters.
const COUNTERS: usize = 16;

/// A `Bytes` that was cloned has a shared part of its own.
const SHARED_PART: usize = 24;

/// The allocator's header and rounding (glibc: 8 bytes, multiples of 16, at least 32).
const fn chunk(len: usize) -> usize {
    let len = (len + 8 + 15) & !15;
    if len < 32 { 32 } else { len }
}

/// What `entry` under `key` adds to the process.
fn weight(key: &Key, entry: &Entry) -> usize {
    let content = match &entry.content {
        Content::Present(value) => {
            let bytes = value.head.len() + value.body.len();
            if bytes == 0 { 0 } else { chunk(bytes) + chunk(SHARED_PART) }
        }
        Content::Absent | Content::Uncacheable => 0,
    };
    let tags = entry.tags.len();
    let list = if tags == 0 { 0 } else { chunk(COUNTERS + tags * size_of::<contract::Tag>()) };
    let tag_texts: usize =
        entry.tags.iter().map(|tag| chunk(COUNTERS + tag.as_str().len()) + PER_TAG).sum();
    SLOT + chunk(COUNTERS + key.as_bytes().len())
        + chunk(COUNTERS + size_of::<Held>())
        + content
        + list
        + tag_texts
}

/// Weighs for the cache, which asks when an entry comes and when it goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weigh;

impl Weighter<Key, Arc<Held>> for Weigh {
    fn weight(&self, key: &Key, held: &Arc<Held>) -> u64 {
        let aside = if held.aside.is_some() { chunk(size_of::<Aside>()) } else { 0 };
        (weight(key, held) + aside) as u64
    }
}

/// How a budget in bytes is laid out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    /// Parts with a lock of their own.
    pub(super) shards: usize,
    /// How many entries to expect; sets how many evicted ones are remembered.
    pub(super) items: usize,
    /// What entries may weigh together.
    pub(super) weight: u64,
}

/// Leaves room for the memory of recently evicted keys, which weighs nothing in the cache's books.
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
