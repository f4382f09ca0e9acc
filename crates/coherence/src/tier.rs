//! A tier: which fills it accepts, which entries stand, and how long they stay.

pub mod buckets;
pub mod coverage;
pub mod fence;
pub mod generation;
pub mod governor;
pub mod key_filter;
pub mod leadership;
pub mod lease;
pub mod sliding_ttl;
pub mod soft;
mod tombstones;
