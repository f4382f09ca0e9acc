//! The map from buckets to shards, and requests to refresh it.

/// The primary of each bucket, as `host:port`. `None`: no primary has its slot.
#[derive(Debug, Default, Eq, PartialEq)]
pub(crate) struct SlotMap {
    pub(crate) primaries: Vec<Option<String>>,
}

/// A contradiction to the known map.
#[derive(Debug)]
pub(crate) enum RefreshRequest {
    /// A node has replied that the bucket is at this address.
    Moved(usize, String),
    /// A call failed.
    Failed,
}
