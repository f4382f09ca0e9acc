//! The limits of clients: their pace, and the responses and uploads that they may keep open.

use std::time::Duration;

use contract::config::{TIME_LIMITS, TableReader};

/// The largest minimum rate that a configuration accepts, in bytes per second.
const MAX_RATE: u64 = 1 << 20;

/// The largest number of responses or uploads that a configuration accepts.
const MAX_OPEN: u32 = 1_000_000;

/// The largest buffer of an upload that a configuration accepts, in bytes.
const MAX_BUFFER: u64 = 16 << 20;

/// The limits of clients.
#[derive(Clone, Debug)]
pub struct ClientLimits {
    /// The longest time that a message waits for the client without a byte from or to it.
    pub timeout: Duration,
    /// The minimum rate at which a client reads a response and sends a body, in bytes per second of
    /// waiting for the client; 0: none.
    pub min_rate: u64,
    /// The responses from the upstream that are open until their clients have read them.
    pub responses: BudgetLimits,
    /// The request bodies that are open until their clients have sent them.
    pub uploads: BudgetLimits,
    /// A body of at most this size is received before the upstream is asked, in bytes.
    pub upload_buffer: usize,
    /// The longest time in which neither side of a WebSocket sends anything.
    pub websocket_timeout: Duration,
}

/// The limits of a budget.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BudgetLimits {
    /// The most at once, in all. The lowest class is refused first, as at the upstream's concurrency
    /// limit.
    pub total: usize,
    /// The most of one client at once.
    pub per_client: usize,
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(60),
            min_rate: 1 << 10,
            responses: BudgetLimits { total: 8_192, per_client: 1_024 },
            uploads: BudgetLimits { total: 2_048, per_client: 256 },
            upload_buffer: 64 << 10,
            websocket_timeout: Duration::from_secs(3_600),
        }
    }
}

impl ClientLimits {
    /// The keys of `[edge]` that set the limits of clients.
    pub(super) const KEYS: [&str; 8] = [
        "client_timeout",
        "client_min_rate",
        "responses",
        "responses_per_client",
        "uploads",
        "uploads_per_client",
        "upload_buffer",
        "websocket_timeout",
    ];

    /// Reads the limits from `[edge]`.
    pub(super) fn read(table: &mut TableReader<'_>) -> Self {
        let default = Self::default();
        let timeout = table.duration("client_timeout", TIME_LIMITS).unwrap_or(default.timeout);
        let min_rate = table.size("client_min_rate", 0..=MAX_RATE).unwrap_or(default.min_rate);
        let websocket_timeout = table.duration("websocket_timeout", TIME_LIMITS);
        let buffer = table.size("upload_buffer", 0..=MAX_BUFFER);
        let mut count = |key: &str, default: usize| {
            let count = table.whole_number(key, 1..=MAX_OPEN);
            count.and_then(|count| usize::try_from(count).ok()).unwrap_or(default)
        };
        Self {
            timeout,
            min_rate,
            responses: BudgetLimits {
                total: count("responses", default.responses.total),
                per_client: count("responses_per_client", default.responses.per_client),
            },
            uploads: BudgetLimits {
                total: count("uploads", default.uploads.total),
                per_client: count("uploads_per_client", default.uploads.per_client),
            },
            upload_buffer: buffer
                .and_then(|bytes| usize::try_from(bytes).ok())
                .unwrap_or(default.upload_buffer),
            websocket_timeout: websocket_timeout.unwrap_or(default.websocket_timeout),
        }
    }
}
