//! Entries: stored answers with their keys, tags, τ and TTL.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coherence::{ClockTime, Event, Lsn, Renewal};
use contract::Tag;

/// A cached value, opaque to this crate. Clones share the bytes.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Value {
    /// The metadata that an interface needs besides the body (the edge: status and headers); may be empty.
    pub head: Bytes,
    /// The body.
    pub body: Bytes,
}

/// The content of an answer from the origin.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Content {
    /// A value.
    Present(Value),
    /// Proven absence ("not found"): has its own, shorter TTL and is invalidated by the INSERT.
    Absent,
    /// The origin's answer may not be stored (private, uncacheable). Remembered without data, so that its
    /// readers do not wait for one another (hit-for-miss).
    Uncacheable,
}

/// An entry: content, the position it was read at, and its times.
///
/// The order of the fields is fixed so that τ, which every answer reports, lies beside the counters of
/// the `Arc` that every answer touches anyway.
#[derive(Clone, Debug, Eq, PartialEq)]
#[repr(C)]
pub struct Entry {
    /// τ: every relevant commit at or before this position is in it.
    pub tau: Lsn,
    /// The content.
    pub content: Content,
    /// Surrogate keys; an invalidation of any of them invalidates the entry.
    pub tags: Arc<[Tag]>,
    /// The wall time of its load, in ms since 1970 (for `Age`; the bound never uses it).
    pub loaded_wall_ms: u64,
    /// Its TTL, jitter included: the safety net beneath the log.
    pub ttl: Duration,
    /// No commit after this position is in it ([`coherence::atomic`]); [`Lsn::MAX`]: not known.
    pub seen: Lsn,
    /// The [definition](contract::Contract::definition_fingerprint) of the contract that it was made by; zero
    /// where there is no contract.
    pub definition: u64,
    /// The next time at which the value changes without a commit, by the database's clock.
    pub changes_at: Option<ClockTime>,
    /// The duration of the load in µs, as [`cost`](Self::cost) returns it.
    pub cost_us: u32,
}

impl Entry {
    /// Returns the duration of the load; XFetch weighs early refreshes with it.
    #[must_use]
    pub fn cost(&self) -> Duration {
        Duration::from_micros(self.cost_us.into())
    }

    /// Returns a duration in whole µs for `cost_us`, rounded up. An hour is longer than any load may take.
    #[must_use]
    pub fn cost_us(cost: Duration) -> u32 {
        u32::try_from(cost.as_nanos().div_ceil(1_000)).unwrap_or(u32::MAX)
    }

    /// Returns whether there is a value.
    #[must_use]
    pub fn is_present(&self) -> bool {
        matches!(self.content, Content::Present(_))
    }

    /// Creates an entry from the log, without a load. Its cost is zero, since nothing was loaded.
    pub(crate) fn renewed(event: &Event, renewal: &Renewal) -> Self {
        let body = |text: &Arc<str>| Bytes::copy_from_slice(text.as_bytes());
        Self {
            tau: event.lsn,
            content: match &renewal.value {
                Some(text) => Content::Present(Value { head: Bytes::new(), body: body(text) }),
                None => Content::Absent,
            },
            tags: if renewal.tags.is_empty() { Arc::default() } else { renewal.tags[..].into() },
            loaded_wall_ms: event.committed_us / 1_000,
            ttl: renewal.ttl,
            // The row as that commit left it.
            seen: event.lsn,
            definition: renewal.definition,
            changes_at: None,
            cost_us: 0,
        }
    }
}
