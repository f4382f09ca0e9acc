//! The shared tier in Redis or Valkey: the fence's rules as scripts, one atomic round trip each.
//!
//! The scripts in `redis/lua` are a second implementation of [`coherence::Fence`] and [`coherence::Leases`].
//! Redis requires it: only a script is atomic there. A differential test compares them with the first one.
//! Connections are the matter of [`redis_transport`].
//!
//! **Buckets.** On a cluster a script sees the keys of one slot. So the keys are divided into buckets,
//! and each has a state, tombstones, a floor and a position of its own ([`buckets`],
//! [`coherence::buckets`]). A single server has one bucket.
//!
//! **Durability.** Tombstones, floor, epoch and applied position have no expiry, and only the tier itself
//! removes them (the eviction policy is checked on connecting). If they are lost nevertheless, the tier shows
//! it: without a state, or with a state whose tombstones lack their guard, it has no position and accepts no
//! fill until an epoch reset. A server that comes back with older data shows its older applied position, and
//! the next batch finds the gap.
//!
//! **Positions** are below 2^53, since sorted sets store scores as doubles: 8 PiB of log. Larger
//! positions are refused, not rounded.

mod batch;
mod batch_chunk;
mod buckets;
mod client;
mod entry_format;
mod freeing;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod key_names;
mod leading;
mod message;
mod metrics;
mod options;
mod reply;
mod room;
mod scripts;
mod signatures;
mod stream;
mod survey;
mod tier;

pub use redis_transport::{RedisLogin, RedisTls};

pub use self::metrics::RedisMetrics;
pub use self::options::RedisOptions;
pub(crate) use self::options::parse_prefix;
pub use self::tier::RedisTier;
