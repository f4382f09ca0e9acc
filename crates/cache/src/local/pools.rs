//! Memory pools: bulkheads between the classes of entries.
//!
//! All entries share one store with one hard limit. Each pool is assured of a part of it: while a pool takes
//! no more than its part, its entries are pinned, so that a flood of other entries evicts none of them.
//! Memory that is not assured, or not used by its pool, is available to all pools.
//!
//! The store's own hooks keep the accounts, under the tier's mutex.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use contract::Class;
use parking_lot::Mutex;
use quick_cache::Lifecycle;

use super::entry::LocalEntry;
use super::raised::Raised;
use super::stored_key::StoredKey;
use super::weight::weight;

/// The share of the limit that all pools together may be assured of. The rest guarantees that every shard of
/// the store has entries to evict.
pub const MOST_ASSURED: f64 = 0.9;

/// The pools with their names in configuration and metrics.
pub const POOLS: [(Class, &str); 3] =
    [(Class::Critical, "critical"), (Class::Standard, "standard"), (Class::Ephemeral, "ephemeral")];

/// The bytes that each pool is assured of. By default none: all pools compete for all of the memory.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Assured {
    /// For entries of contracts with `pool = "critical"`.
    pub critical: u64,
    /// For `pool = "standard"`.
    pub standard: u64,
    /// For `pool = "ephemeral"`.
    pub ephemeral: u64,
}

impl Assured {
    /// Returns the bytes that one pool is assured of.
    #[must_use]
    pub fn of(self, pool: Class) -> u64 {
        match pool {
            Class::Critical => self.critical,
            Class::Standard => self.standard,
            Class::Ephemeral => self.ephemeral,
        }
    }

    /// Returns the bytes that all pools together are assured of.
    #[must_use]
    pub fn total(self) -> u64 {
        self.critical.saturating_add(self.standard).saturating_add(self.ephemeral)
    }
}

/// The status of a pool.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct PoolStatus {
    /// Its entries.
    pub entries: u64,
    /// The bytes that its entries take, overhead included.
    pub bytes: u64,
    /// The bytes that it is assured of.
    pub assured_bytes: u64,
    /// Its entries evicted so far for lack of memory.
    pub evictions: u64,
}

/// The accounts of the pools, and the evicted entries. Shared with the store's hooks.
#[derive(Clone, Debug)]
pub(super) struct Pools(Arc<Accounts>);

#[derive(Debug)]
struct Accounts {
    pools: [Account; 3],
    /// While set, no entry is pinned.
    unpinned: AtomicBool,
    /// Evicted entries that are still in the tag index. The holder of the tier's mutex removes them.
    evicted: Mutex<Vec<LocalEntry>>,
    /// An entry that an invalidation has made old is not pinned.
    raised: Arc<Raised>,
}

/// The account of one pool. Written under the tier's mutex only.
#[derive(Debug, Default)]
struct Account {
    assured: u64,
    entries: AtomicU64,
    bytes: AtomicU64,
    evictions: AtomicU64,
}

impl Pools {
    pub(super) fn new(assured: Assured, raised: Arc<Raised>) -> Self {
        let mut pools: [Account; 3] = Default::default();
        for (class, _) in POOLS {
            pools[class as usize].assured = assured.of(class);
        }
        let (unpinned, evicted) = (false.into(), Mutex::default());
        Self(Arc::new(Accounts { pools, unpinned, evicted, raised }))
    }

    fn account(&self, pool: Class) -> &Account {
        &self.0.pools[pool as usize]
    }

    /// Accounts for an entry that is about to be inserted into the store.
    pub(super) fn add(&self, entry: &LocalEntry) {
        let account = self.account(entry.policy.pool);
        account.entries.fetch_add(1, Ordering::Relaxed);
        account.bytes.fetch_add(weight(entry), Ordering::Relaxed);
    }

    /// Accounts for an entry that has left the store.
    pub(super) fn remove(&self, entry: &LocalEntry) {
        let account = self.account(entry.policy.pool);
        account.entries.fetch_sub(1, Ordering::Relaxed);
        account.bytes.fetch_sub(weight(entry), Ordering::Relaxed);
    }

    /// Accounts for a store that was cleared.
    pub(super) fn clear(&self) {
        for account in &self.0.pools {
            account.entries.store(0, Ordering::Relaxed);
            account.bytes.store(0, Ordering::Relaxed);
        }
    }

    /// Returns the bytes of all pools.
    pub(super) fn bytes(&self) -> u64 {
        self.0.pools.iter().map(|account| account.bytes.load(Ordering::Relaxed)).sum()
    }

    /// Whether the entries of the pool are pinned.
    pub(super) fn is_pinned(&self, pool: Class) -> bool {
        let account = self.account(pool);
        account.assured > 0
            && account.bytes.load(Ordering::Relaxed) <= account.assured
            && !self.0.unpinned.load(Ordering::Relaxed)
    }

    /// Runs `evict` while no entry is pinned.
    pub(super) fn unpinned<T>(&self, evict: impl FnOnce() -> T) -> T {
        self.0.unpinned.store(true, Ordering::Relaxed);
        let done = evict();
        self.0.unpinned.store(false, Ordering::Relaxed);
        done
    }

    /// Takes the entries that were evicted since the last call.
    pub(super) fn take_evicted(&self) -> Vec<LocalEntry> {
        std::mem::take(&mut *self.0.evicted.lock())
    }

    /// Counts an eviction for lack of memory.
    pub(super) fn count_eviction(&self, pool: Class) {
        self.account(pool).evictions.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn evictions(&self) -> u64 {
        self.0.pools.iter().map(|account| account.evictions.load(Ordering::Relaxed)).sum()
    }

    pub(super) fn status(&self, pool: Class) -> PoolStatus {
        let account = self.account(pool);
        PoolStatus {
            entries: account.entries.load(Ordering::Relaxed),
            bytes: account.bytes.load(Ordering::Relaxed),
            assured_bytes: account.assured,
            evictions: account.evictions.load(Ordering::Relaxed),
        }
    }
}

impl Lifecycle<StoredKey, LocalEntry> for Pools {
    type RequestState = ();

    fn is_pinned(&self, _: &StoredKey, entry: &LocalEntry) -> bool {
        Pools::is_pinned(self, entry.policy.pool) && self.0.raised.is_current(entry)
    }

    /// Is also called for an entry that is replaced, or that is too large to be accepted.
    fn on_evict(&self, (): &mut (), _: StoredKey, entry: LocalEntry) {
        self.remove(&entry);
        self.0.evicted.lock().push(entry);
    }
}
