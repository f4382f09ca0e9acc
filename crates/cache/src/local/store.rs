//! The entries of the in-process tier, within their memory limit and in step with the tag index.

use std::sync::Arc;

use coherence::Subject;
use contract::Key;
use quick_cache::sync::Cache;
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};

use super::entry::LocalEntry;
use super::pools::{Assured, POOLS, PoolStatus, Pools};
use super::tag_index::{Links, TagIndex};
use super::weight::{EntryWeighter, layout};

type Entries = Cache<Key, Arc<LocalEntry>, EntryWeighter, DefaultHashBuilder, Pools>;

/// The entries. All methods that change them take the index, which is behind the tier's mutex; the others
/// take no lock of this crate.
pub(super) struct Store {
    entries: Entries,
    /// The weight limit in bytes.
    capacity: u64,
    /// From this weight on an entry is large for its shard.
    large: u64,
    pools: Pools,
}

impl Store {
    /// Creates a store of at most `bytes`.
    pub(super) fn new(bytes: u64, assured: Assured) -> Self {
        let layout = layout(bytes);
        let pools = Pools::new(assured);
        let options = OptionsBuilder::new()
            .shards(layout.shards)
            .estimated_items_capacity(layout.items)
            .weight_capacity(layout.weight)
            .build()
            .expect("both capacities are set");
        let hasher = DefaultHashBuilder::default();
        let entries = Entries::with_options(options, EntryWeighter, hasher, pools.clone());
        Self { capacity: entries.capacity(), large: entries.shard_capacity() / 2, entries, pools }
    }

    /// Returns the entry and counts a use of it.
    #[inline]
    pub(super) fn get(&self, key: &Key) -> Option<Arc<LocalEntry>> {
        self.entries.get(key)
    }

    /// Returns the entry without counting a use.
    pub(super) fn peek(&self, key: &Key) -> Option<Arc<LocalEntry>> {
        self.entries.peek(key)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Key, Arc<LocalEntry>)> {
        self.entries.iter()
    }

    /// Adds an entry to the store and the index, in place of the one under its key.
    pub(super) fn insert(&self, index: &mut TagIndex, key: &Key, entry: Arc<LocalEntry>) {
        entry.set_links(index.insert(key, &entry.tags));
        self.put(index, key, entry);
    }

    /// Replaces `old` by a copy of it. The copy takes its place in the index too.
    pub(super) fn replace(
        &self,
        index: &mut TagIndex,
        key: &Key,
        old: &LocalEntry,
        copy: Arc<LocalEntry>,
    ) {
        copy.set_links(old.links());
        old.set_links(Links::NONE);
        self.put(index, key, copy);
    }

    fn put(&self, index: &mut TagIndex, key: &Key, entry: Arc<LocalEntry>) {
        let pool = entry.policy.pool;
        let bytes = EntryWeighter.weight(key, &entry);
        self.pools.add(key, &entry);
        // A shard in which every entry is pinned would accept an entry of any size.
        if bytes <= self.large {
            self.entries.insert_with_lifecycle(key.clone(), entry, &mut ());
        } else {
            self.pools.unpinned(|| self.entries.insert_with_lifecycle(key.clone(), entry, &mut ()));
        }
        if self.pools.bytes() > self.capacity {
            // A shard has accepted too much. The limit takes precedence over the pools.
            self.pools.unpinned(|| self.entries.set_capacity(self.capacity));
        }
        if self.pools.is_pinned(pool) {
            // A first use moves the entry out of the queue that evictions are taken from.
            drop(self.entries.get(key));
        }
        // Contains replaced entries and entries that were too large to be accepted, too.
        for (gone_key, gone) in self.pools.take_evicted() {
            index.remove(gone.links());
            if gone_key != *key {
                self.pools.count_eviction(gone.policy.pool);
            }
        }
    }

    /// Removes the entry under `key` if `condition` holds for it.
    pub(super) fn remove_if(
        &self,
        index: &mut TagIndex,
        key: &Key,
        condition: impl Fn(&LocalEntry) -> bool,
    ) {
        if let Some((key, gone)) = self.entries.remove_if(key, |entry| condition(entry)) {
            self.pools.remove(&key, &gone);
            index.remove(gone.links());
        }
    }

    /// Removes the entries that `subject` names and for which `condition` holds.
    pub(super) fn remove_named(
        &self,
        index: &mut TagIndex,
        subject: &Subject,
        condition: impl Fn(&LocalEntry) -> bool,
    ) {
        for key in self.keys_named(index, subject) {
            self.remove_if(index, &key, &condition);
        }
    }

    /// Removes everything.
    pub(super) fn clear(&self, index: &mut TagIndex) {
        self.entries.clear();
        self.pools.clear();
        *index = TagIndex::default();
    }

    /// Returns the keys of the entries that `subject` names. A key that is named itself is returned whether
    /// or not it has an entry.
    pub(super) fn keys_named(&self, index: &TagIndex, subject: &Subject) -> Vec<Key> {
        match subject {
            Subject::Key(key) => vec![key.clone()],
            Subject::Tag(tag) => index.keys(tag),
            Subject::KeysLike(pattern) => {
                let matches = |key: &Key| pattern.matches(key.as_str());
                self.entries.iter().map(|(key, _)| key).filter(matches).collect()
            }
            Subject::TagsLike(pattern) => {
                let tags = index.tags().filter(|tag| pattern.matches(tag.as_str()));
                let mut keys: Vec<Key> = tags.flat_map(|tag| index.keys(tag)).collect();
                keys.sort_unstable();
                keys.dedup();
                keys
            }
            Subject::Everything => self.entries.iter().map(|(key, _)| key).collect(),
        }
    }

    /// Returns the number of entries.
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
