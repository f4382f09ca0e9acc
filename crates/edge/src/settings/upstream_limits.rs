//! The limits of requests to the upstream: how many at once, and how long each.

use std::time::Duration;

use cache::admission::{LimitRange, Shares};
use contract::config::{MAX_DURATION, TIME_LIMITS, TableReader};

/// The largest number of requests that a configuration accepts.
const MAX_REQUESTS: u32 = 100_000;

/// The largest length of the queue that a configuration accepts.
const MAX_QUEUE: u32 = 1_000_000;

/// How many requests the upstream gets at once, and which wait.
#[derive(Clone, Debug)]
pub struct UpstreamLimits {
    /// The most requests at the upstream at once: each from the moment it is sent until the head of its
    /// response has come, or for a page that is stored, the body.
    pub concurrency: usize,
    /// The least number that the limit falls to while the upstream is busy, and its start.
    pub range: LimitRange,
    /// The shares of page loads and of each client.
    pub shares: Shares,
    /// The most requests that wait for a place. The lowest class is shed first.
    pub queue: usize,
    /// The time that a request waits for a place.
    pub queue_timeout: Duration,
}

impl Default for UpstreamLimits {
    fn default() -> Self {
        Self {
            concurrency: 512,
            // Down to the number that the workers of a busy upstream need, on evidence.
            range: LimitRange { min: 32, start: usize::MAX },
            shares: Shares { loads: 0.75, party: 0.5 },
            queue: 16_384,
            queue_timeout: Duration::from_secs(10),
        }
    }
}

/// The timeouts of an exchange with the upstream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Timeouts {
    /// Until the response begins, from the moment the request has been sent.
    pub first_byte: Duration,
    /// The longest pause within the body of the response.
    pub between_bytes: Duration,
    /// For the whole exchange, to the end of the body; `None`: no limit.
    pub total: Option<Duration>,
}

impl Default for Timeouts {
    fn default() -> Self {
        let minute = Duration::from_secs(60);
        Self { first_byte: minute, between_bytes: minute, total: None }
    }
}

/// Timeouts of a route, each in place of the upstream's.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct TimeoutOverrides {
    /// In place of [`Timeouts::first_byte`].
    pub first_byte: Option<Duration>,
    /// In place of [`Timeouts::between_bytes`].
    pub between_bytes: Option<Duration>,
    /// In place of [`Timeouts::total`]; zero: no limit.
    pub total: Option<Duration>,
}

impl UpstreamLimits {
    /// The keys of `[upstream]` that set these limits.
    pub(super) const KEYS: [&str; 7] = [
        "concurrency",
        "min_concurrency",
        "start_concurrency",
        "loads_share",
        "client_share",
        "queue",
        "queue_timeout",
    ];

    /// Reads the limits from `[upstream]`.
    pub(super) fn read(table: &mut TableReader<'_>) -> Self {
        let default = Self::default();
        let mut count = |key: &str, range, default: usize| {
            let count = table.whole_number(key, range);
            count.and_then(|count| usize::try_from(count).ok()).unwrap_or(default)
        };
        let concurrency = count("concurrency", 1..=MAX_REQUESTS, default.concurrency);
        let range = LimitRange {
            min: count("min_concurrency", 1..=MAX_REQUESTS, default.range.min),
            start: count("start_concurrency", 1..=MAX_REQUESTS, default.range.start),
        };
        let queue = count("queue", 0..=MAX_QUEUE, default.queue);
        let mut share = |key: &str, default: f64| table.number(key, 0.01..=1.0).unwrap_or(default);
        let shares = Shares {
            loads: share("loads_share", default.shares.loads),
            party: share("client_share", default.shares.party),
        };
        let queue_timeout = table.duration("queue_timeout", TIME_LIMITS);
        let queue_timeout = queue_timeout.unwrap_or(default.queue_timeout);
        Self { concurrency, range, shares, queue, queue_timeout }
    }
}

impl TimeoutOverrides {
    /// The keys that set these timeouts, of `[upstream]` and of a route.
    pub(super) const KEYS: [&str; 3] = ["timeout", "between_bytes_timeout", "total_timeout"];

    /// Reads the timeouts.
    pub(super) fn read(table: &mut TableReader<'_>) -> Self {
        Self {
            first_byte: table.duration("timeout", TIME_LIMITS),
            between_bytes: table.duration("between_bytes_timeout", TIME_LIMITS),
            total: table.duration("total_timeout", Duration::ZERO..=MAX_DURATION),
        }
    }

    /// Returns these timeouts, and `others` where there is none.
    pub(super) fn or(self, others: Timeouts) -> Timeouts {
        Timeouts {
            first_byte: self.first_byte.unwrap_or(others.first_byte),
            between_bytes: self.between_bytes.unwrap_or(others.between_bytes),
            total: match self.total {
                Some(total) => Some(total).filter(|total| !total.is_zero()),
                None => others.total,
            },
        }
    }
}
