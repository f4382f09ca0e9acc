//! What a tier holds under a key.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coherence::{Event, Lsn, Renewal};
use contract::Tag;

/// A cached value, opaque to this crate. Clones share the bytes.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Value {
    /// What a face needs beside the body (the edge: status and headers); may be empty.
    pub head: Bytes,
    /// The answer itself.
    pub body: Bytes,
}

/// What was found at the origin.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Content {
    /// A value.
    Present(Value),
    /// Proven absence ("not found"): has its own, shorter life and falls with the INSERT.
    Absent,
    /// The origin's answer may not be stored (private, uncacheable): remember that, so that its
    /// readers do not wait for one another (hit-for-miss). Holds no data.
    Uncacheable,
}

/// An entry: content, the token it was read under, and its times.
///
/// The order of the fields is kept so that τ, which every answer reports, lies beside the counters
/// of the `Arc` that every answer touches anyway.
#[derive(Clone, Debug, Eq, PartialEq)]
#[repr(C)]
pub struct Entry {
    /// τ: every relevant commit up to here is in it.
    pub tau: Lsn,
    /// What was read.
    pub content: Content,
    /// Surrogate keys; an invalidation of any of them fells it.
    pub tags: Arc<[Tag]>,
    /// When it was loaded, wall time in ms since 1970 (for `Age`; the bound never uses it).
    pub loaded_wall_ms: u64,
    /// How long the load took; XFetch weighs early refresh with it.
    pub cost: Duration,
    /// How long it may live, jitter included: the safety net beneath the log.
    pub ttl: Duration,
    /// No commit beyond this position is in it ([`coherence::atomic`]); [`Lsn::MAX`]: not known.
    pub seen: Lsn,
}

impl Entry {
    /// Whether there is a value.
    #[must_use]
    pub fn is_present(&self) -> bool {
        matches!(self.content, Content::Present(_))
    }

    /// The entry as the log tells it, without a load. The log does not tell what a load costs.
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
            cost: Duration::ZERO,
            ttl: renewal.ttl,
            // The row as that commit left it.
            seen: event.lsn,
        }
    }
}
