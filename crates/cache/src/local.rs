//! The in-process tier.
//!
//! Reads take no lock of this crate. All writes (fills, invalidations, epoch resets, samples) take one mutex,
//! which guards the fence, the tag index and the bound. Readers rely on four rules:
//!
//! 1. An entry is inserted only while the fence admits it, under the mutex.
//! 2. A batch is applied in this order: raise the tombstones, put the events in force and remove the invalidated
//!    entries or make them soft-stale ([`invalidation`]), publish the time as of which this tier is proven. Of
//!    the entries of a large tag only the first are removed then. The others are left to the [`sweep`], and
//!    readers are told that there are some ([`raised`]).
//! 3. A reader loads the proven time first, fetches the entry second, and then asks whether there were raises
//!    that the entry was not compared with. So the entry misses no commit that the loaded time covers.
//! 4. An epoch reset withdraws the proof before it drops the entries, and changes the generation. A reader
//!    that has seen two generations has found nothing.
//!
//! Lock order: the mutex, then a shard of the store, then the list of evicted entries or that of wildcards.

mod absence;
mod blocks;
mod bloom;
mod entry;
mod extension;
mod fast_path;
mod invalidation;
mod key_filter;
mod links;
mod memory;
mod packed;
mod pools;
mod raised;
mod slab;
mod snapshot;
mod standby;
mod store;
mod stored_key;
mod sweep;
mod tag_cell;
mod tag_index;
mod tag_table;
mod tier;
mod weight;
mod writer;

#[cfg(test)]
mod pools_tests;
#[cfg(test)]
mod tests;

pub(crate) use self::bloom::{Bloom, ClockReading, max_keys};
pub(crate) use self::entry::EntryPolicy;
pub use self::entry::{EntryFields, LocalEntry};
pub(crate) use self::extension::SoftExtension;
pub(crate) use self::key_filter::{FilterHealth, FilterId, ScanStep};
pub use self::key_filter::{FilterState, FilterStatus};
pub use self::memory::LocalMemory;
pub use self::pools::{Assured, MOST_ASSURED, POOLS, PoolStatus};
pub(crate) use self::snapshot::LocalSnapshot;
pub use self::tier::LocalStatus;
pub(crate) use self::tier::{Local, LocalOptions};
