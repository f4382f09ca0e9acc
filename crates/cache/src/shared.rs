//! The tier that all nodes share: the trait, an embedded implementation and one in Redis.

mod broadcast;
mod error;
mod eviction_stamps;
mod late;
mod memory;
mod options;
mod redis;
mod tier;
mod url;

pub use self::error::TierError;
pub use self::late::{LateJoin, LateTier};
pub use self::memory::MemoryTier;
pub use self::options::SharedOptions;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub use self::redis::fuzzing;
pub use self::redis::{RedisLogin, RedisMetrics, RedisOptions, RedisTier, RedisTls};
pub use self::tier::{
    Fill, LeadRequest, Leadership, Led, NodeMessage, NodeRecord, Outcome, SharedRead, SharedTier,
    TierPosition, Touch,
};
pub use self::url::SharedUrl;
