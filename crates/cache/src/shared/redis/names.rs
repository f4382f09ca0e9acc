//! What our keys in Redis are called.
//!
//! `{tg:0}:state`, `{tg:0}:k:v1:catalog:price:42`, … The braces make a cluster keep all keys of a
//! bucket on one shard, where one script can see them. A standalone server has one bucket, 0.

use contract::Key;

/// The names within one bucket.
#[derive(Clone, Debug)]
pub(super) struct Names {
    /// `{tg:0}:`
    base: String,
    /// Hash: epoch, applied, watermark, floor and counters. No expiry.
    pub(super) state: String,
    /// Sorted set: subject → position, and the guard. No expiry.
    pub(super) tombstones: String,
    /// Sorted set: evicted tag → number of the eviction. No expiry.
    pub(super) evictions: String,
    /// Stream: what the nodes shall know. No expiry, bounded in length.
    pub(super) stream: String,
}

impl Names {
    pub(super) fn new(prefix: &str, bucket: u16) -> Self {
        let base = format!("{{{prefix}:{bucket}}}:");
        Self {
            state: format!("{base}state"),
            tombstones: format!("{base}tombstones"),
            evictions: format!("{base}evictions"),
            stream: format!("{base}stream"),
            base,
        }
    }

    /// String, with expiry. What follows the base is the entry's subject, and the scripts rely on
    /// that.
    pub(super) fn entry(&self, key: &Key) -> String {
        format!("{}k:{key}", self.base)
    }

    /// String, with expiry: epoch and token.
    pub(super) fn lease(&self, key: &Key) -> String {
        format!("{}l:{key}", self.base)
    }
}
