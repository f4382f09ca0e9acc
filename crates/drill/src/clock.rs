//! The drill's only clock. It measures from outside, so it needs the real one.

use std::time::Instant;

/// Now, on the monotonic clock that every time in this crate is taken from.
#[expect(clippy::disallowed_methods, reason = "a drill measures a running system in real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// The wall time, in seconds since 1970.
pub(crate) fn unix_seconds() -> u64 {
    since_1970().as_secs()
}

/// The wall time, in ms since 1970.
pub(crate) fn unix_ms() -> i64 {
    i64::try_from(since_1970().as_millis()).unwrap_or(i64::MAX)
}

#[expect(
    clippy::disallowed_methods,
    reason = "signatures and records have the time of other systems"
)]
fn since_1970() -> std::time::Duration {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap_or_default()
}
