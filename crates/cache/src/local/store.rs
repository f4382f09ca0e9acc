//! The entries of the in-process tier, within their memory limit and in step with the tag index.

use std::sync::Arc;

use contract::Key;
use quick_cache::sync::Cache;
use quick_cache::{DefaultHashBuilder, OptionsBuilder};

use super::entry::LocalEntry;
use super::pools::{Assured, POOLS, PoolStatus, Pools};
use super::raised::Raised;
use super::stored_key::StoredKey;
use super::tag_index::{DiscardedIndex, TagIndex};
use super::weight::{EntryWeighter, layout, weight};

type Entries = Cache<StoredKey, LocalEntry, EntryWeighter, DefaultHashBuilder, Pools>;

/// The entries. All methods that change them take the index, which is behind the tier's mutex; the others
/// take no lock of this crate.
pub(super) struct Store {
    entries: Entries,
    /// The weight limit in bytes.
    capacity: u64,
    /// From this weight on an entry is large for its shard.
    large: u64,
    pools: Pools,
    /// The invalidations whose entries are still here.
    pub(super) raised: Arc<Raised>,
}

impl Store {
    /// Creates a store of at most `bytes`.
    pub(super) fn new(bytes: u64, assured: Assured) -> Self {
        let layout = layout(bytes);
        let raised = Arc::new(Raised::default());
        let pools = Pools::new(assured, Arc::clone(&raised));
        let options = OptionsBuilder::new()
            .shards(layout.shards)
            .estimated_items_capacity(layout.items)
            .weight_capacity(layout.weight)
            .build()
            .expect("both capacities are set");
        let hasher = DefaultHashBuilder::default();
        let entries = Entries::with_options(options, EntryWeighter, hasher, pools.clone());
        let (capacity, large) = (entries.capacity(), entries.shard_capacity() / 2);
        Self { capacity, large, entries, pools, raised }
    }

    /// Returns the entry and counts a use of it.
    #[inline]
    pub(super) fn get(&self, key: &Key) -> Option<LocalEntry> {
        self.entries.get(key.as_bytes())
    }

    /// Returns the entry without counting a use.
    pub(super) fn peek(&self, key: &Key) -> Option<LocalEntry> {
        self.entries.peek(key.as_bytes())
    }

    /// Returns the entry that is stored under the key of `entry`, without counting a use.
    pub(super) fn peek_like(&self, entry: &LocalEntry) -> Option<LocalEntry> {
        self.entries.peek(entry.key_bytes())
    }

    /// Returns the entries one by one. Holds no lock in between.
    pub(super) fn iter(&self) -> impl Iterator<Item = LocalEntry> + Send {
        self.entries.iter().map(|(_, entry)| entry)
    }

    /// Adds an entry to the store and the index, in place of the one under its key.
    pub(super) fn insert(&self, index: &mut TagIndex, entry: LocalEntry) {
        // First, so that a value which is loaded again stays the only entry of its tags.
        if let Some(replaced) = self.peek_like(&entry).filter(|old| !self.raised.is_dropped(old)) {
            index.remove(replaced.take_links());
        }
        let (links, cells) = index.insert(&entry);
        entry.set_links(links, cells);
        self.put(index, entry);
    }

    /// Replaces `old` by its soft-stale copy, which takes its place in the index too.
    pub(super) fn replace_by_soft(&self, index: &mut TagIndex, old: &LocalEntry, copy: LocalEntry) {
        let links = old.take_links();
        index.replace_by_soft(links, &copy);
        copy.set_links(links, old.cells().to_vec());
        self.put(index, copy);
    }

    fn put(&self, index: &mut TagIndex, entry: LocalEntry) {
        entry.set_stamp(self.raised.stamp());
        let pool = entry.policy.pool;
        let bytes = weight(&entry);
        self.pools.add(&entry);
        let (key, stored) = (StoredKey::of(&entry), entry.clone());
        // A shard in which every entry is pinned would accept an entry of any size.
        if bytes <= self.large {
            self.entries.insert_with_lifecycle(key, stored, &mut ());
        } else {
            self.pools.unpinned(|| self.entries.insert_with_lifecycle(key, stored, &mut ()));
        }
        if self.pools.bytes() > self.capacity {
            // A shard has accepted too much. The limit takes precedence over the pools.
            self.pools.unpinned(|| self.entries.set_capacity(self.capacity));
        }
        if self.pools.is_pinned(pool) {
            // A first use moves the entry out of the queue that evictions are taken from.
            drop(self.entries.get(entry.key_bytes()));
        }
        // Contains replaced entries and entries that were too large to be accepted, too.
        for gone in self.pools.take_evicted() {
            self.unindex(index, &gone);
            if gone.key_bytes() != entry.key_bytes() && self.raised.is_current(&gone) {
                self.pools.count_eviction(gone.policy.pool);
            }
        }
    }

    /// Removes the entry under `key`.
    pub(super) fn remove(&self, index: &mut TagIndex, key: &[u8]) {
        if let Some((_, gone)) = self.entries.remove(key) {
            self.pools.remove(&gone);
            self.unindex(index, &gone);
        }
    }

    /// Removes an entry that has left the store from the index. A dropped entry was in an earlier one.
    fn unindex(&self, index: &mut TagIndex, gone: &LocalEntry) {
        if !self.raised.is_dropped(gone) {
            index.remove(gone.links());
        }
    }

    /// Removes everything now.
    pub(super) fn clear(&self, index: &mut TagIndex) {
        self.entries.clear();
        self.pools.clear();
        *index = TagIndex::default();
    }

    /// Drops everything: no reader finds the entries any more, and they are removed later, as is the index.
    pub(super) fn drop_all(&self, index: &mut TagIndex) -> DiscardedIndex {
        self.raised.drop_all();
        std::mem::take(index).discard()
    }

    /// Returns the number of entries, including those that an invalidation has made old.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns the bytes that the entries take, overhead included.
    pub(super) fn bytes(&self) -> u64 {
        self.entries.weight()
    }

    /// Returns the number of entries evicted so far.
    pub(super) fn evictions(&self) -> u64 {
        self.pools.evictions()
    }

    /// Returns the status of each pool, in the order of [`POOLS`].
    pub(super) fn pool_status(&self) -> [PoolStatus; 3] {
        POOLS.map(|(pool, _)| self.pools.status(pool))
    }
}
