//! The limits of client connections.

use std::time::Duration;

use contract::config::{TIME_LIMITS, TableReader};

use super::options::GatewayOptions;

/// The smallest limit on request heads: hyper's own minimum.
const MIN_HEAD: u64 = 8 << 10;

/// The largest limit on request heads, in bytes.
const MAX_HEAD: u64 = 1 << 20;

/// The limits of client connections; `None`: the default.
#[derive(Clone, Copy, Debug, Default)]
pub struct ConnectionLimits {
    head_timeout: Option<Duration>,
    max_head_bytes: Option<usize>,
    drain: Option<Duration>,
}

impl ConnectionLimits {
    /// The keys of `[edge]` that set these limits.
    pub(super) const KEYS: [&str; 3] = ["head_timeout", "max_head_size", "drain_timeout"];

    /// Reads the limits from `[edge]`.
    pub(super) fn read(table: &mut TableReader<'_>) -> Self {
        Self {
            head_timeout: table.duration("head_timeout", TIME_LIMITS),
            max_head_bytes: table
                .size("max_head_size", MIN_HEAD..=MAX_HEAD)
                .and_then(|bytes| usize::try_from(bytes).ok()),
            drain: table.duration("drain_timeout", TIME_LIMITS),
        }
    }

    /// Returns the options with these limits.
    pub(super) fn apply(self, options: GatewayOptions) -> GatewayOptions {
        GatewayOptions {
            head_timeout: self.head_timeout.unwrap_or(options.head_timeout),
            max_head_bytes: self.max_head_bytes.unwrap_or(options.max_head_bytes),
            drain: self.drain.unwrap_or(options.drain),
            ..options
        }
    }
}
