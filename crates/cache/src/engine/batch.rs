//! Reads of many keys: independent ones, and atomic ones from a single snapshot.

mod atomic;
mod get_many;
mod group_load;
mod item;
mod read_many;

pub use self::atomic::AtomicBatch;
pub use self::item::Item;
