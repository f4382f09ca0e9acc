//! Pools of memory: bulkheads between the classes of entries.
//!
//! All entries share one store and its one hard limit. Each pool is assured of a part of it: while a
//! pool takes no more than that, none of its entries is evicted, so that a flood of others goes past
//! them. What nobody is assured of, or does not use, belongs to whoever needs it.
//!
//! The books are kept by the store's own hooks, under the tier's mutex.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use contract::{Class, Key};
use parking_lot::Mutex;
use quick_cache::{Lifecycle, Weighter};

use super::Held;
use super::weigh::Weigh;

/// The share of the limit that pools may be assured of together. The rest keeps every part of the
/// store with something to evict.
pub const MOST_ASSURED: f64 = 0.9;

/// The pools, and their names in configuration and metrics.
pub const POOLS: [(Class, &str); 3] =
    [(Class::Critical, "critical"), (Class::Standard, "standard"), (Class::Ephemeral, "ephemeral")];

/// How many bytes each pool is assured of; by default none, and all compete for all of the memory.
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
    /// What one pool is assured of.
    #[must_use]
    pub fn of(self, pool: Class) -> u64 {
        match pool {
            Class::Critical => self.critical,
            Class::Standard => self.standard,
            Class::Ephemeral => self.ephemeral,
        }
    }

    /// What all of them are assured of.
    #[must_use]
    pub fn total(self) -> u64 {
        self.critical.saturating_add(self.standard).saturating_add(self.ephemeral)
    }
}

/// What a pool holds.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct PoolStanding {
    /// Entries held.
    pub entries: u64,
    /// Bytes held, overhead included.
    pub bytes: u64,
    /// Bytes that it is assured of.
    pub assured_bytes: u64,
    /// Entries evicted for want of room, ever.
    pub evictions: u64,
}

/// The books, and what was evicted; the store's hooks share it.
#[derive(Clone, Debug)]
pub(super) struct Pools(Arc<Books>);

#[derive(Debug)]
struct Books {
    books: [Book; 3],
    /// While set no entry is kept from being evicted.
    lifted: AtomicBool,
    /// What the hooks were told of, until the mutex's holder takes it out of the index.
    evicted: Mutex<Vec<(Key, Arc<Held>)>>,
}

/// Written under the tier's mutex only.
#[derive(Debug, Default)]
struct Book {
    assured: u64,
    entries: AtomicU64,
    bytes: AtomicU64,
    evictions: AtomicU64,
}

impl Pools {
    pub(super) fn new(assured: Assured) -> Self {
        let mut books: [Book; 3] = Default::default();
        for (class, _) in POOLS {
            books[class as usize].assured = assured.of(class);
        }
        Self(Arc::new(Books { books, lifted: false.into(), evicted: Mutex::default() }))
    }

    fn book(&self, pool: Class) -> &Book {
        &self.0.books[pool as usize]
    }

    /// An entry comes into the store.
    pub(super) fn comes(&self, key: &Key, held: &Arc<Held>) {
        let book = self.book(held.pool);
        book.entries.fetch_add(1, Ordering::Relaxed);
        book.bytes.fetch_add(Weigh.weight(key, held), Ordering::Relaxed);
    }

    /// An entry has left the store.
    pub(super) fn goes(&self, key: &Key, held: &Arc<Held>) {
        let book = self.book(held.pool);
        book.entries.fetch_sub(1, Ordering::Relaxed);
        book.bytes.fetch_sub(Weigh.weight(key, held), Ordering::Relaxed);
    }

    /// Everything has left it.
    pub(super) fn clear(&self) {
        for book in &self.0.books {
            book.entries.store(0, Ordering::Relaxed);
            book.bytes.store(0, Ordering::Relaxed);
        }
    }

    /// Bytes held by all of them.
    pub(super) fn bytes(&self) -> u64 {
        self.0.books.iter().map(|book| book.bytes.load(Ordering::Relaxed)).sum()
    }

    /// Whether the pool keeps what it has from being evicted.
    pub(super) fn keeps(&self, pool: Class) -> bool {
        let book = self.book(pool);
        book.assured > 0
            && book.bytes.load(Ordering::Relaxed) <= book.assured
            && !self.0.lifted.load(Ordering::Relaxed)
    }

    /// Does something while no entry is kept from being evicted.
    pub(super) fn lifted<T>(&self, evict: impl FnOnce() -> T) -> T {
        self.0.lifted.store(true, Ordering::Relaxed);
        let done = evict();
        self.0.lifted.store(false, Ordering::Relaxed);
        done
    }

    /// What the hooks were told of since this was last asked.
    pub(super) fn take_evicted(&self) -> Vec<(Key, Arc<Held>)> {
        std::mem::take(&mut *self.0.evicted.lock())
    }

    /// One of a pool's entries had to make room.
    pub(super) fn count_eviction(&self, pool: Class) {
        self.book(pool).evictions.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn evictions(&self) -> u64 {
        self.0.books.iter().map(|book| book.evictions.load(Ordering::Relaxed)).sum()
    }

    pub(super) fn standing(&self, pool: Class) -> PoolStanding {
        let book = self.book(pool);
        PoolStanding {
            entries: book.entries.load(Ordering::Relaxed),
            bytes: book.bytes.load(Ordering::Relaxed),
            assured_bytes: book.assured,
            evictions: book.evictions.load(Ordering::Relaxed),
        }
    }
}

impl Lifecycle<Key, Arc<Held>> for Pools {
    type RequestState = ();

    fn is_pinned(&self, _key: &Key, held: &Arc<Held>) -> bool {
        self.keeps(held.pool)
    }

    /// Also for an entry that is replaced, or that is too big to be taken.
    fn on_evict(&self, (): &mut (), key: Key, held: Arc<Held>) {
        self.goes(&key, &held);
        self.0.evicted.lock().push((key, held));
    }
}
