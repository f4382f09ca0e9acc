//! Reads of one key: local lookup, single flight, shared lookup, load.

#[cfg(any(test, feature = "bench-internals"))]
mod bench;
mod get;
mod inspect;
mod lookup_local;
mod lookup_shared;
mod read_your_writes;
mod respond;
mod run_load;

pub(crate) use self::get::{ActiveRead, LocalOutcome};
pub use self::inspect::{ServedAs, TierEntry};
pub(crate) use self::lookup_shared::{ReplyVerdict, SharedLookup};
pub(crate) use self::run_load::UnprovenEntry;
