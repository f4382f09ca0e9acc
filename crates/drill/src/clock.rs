//! The drill's only clock. It measures from outside, so it needs the real one.

use std::time::Instant;

/// Now, on the monotonic clock that every time in this crate is taken from.
#[expect(clippy::disallowed_methods, reason = "a drill measures a running system in real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// The wall time, in seconds since 1970.
#[expect(clippy::disallowed_methods, reason = "a signature of another server's event has its time")]
pub(crate) fn unix_seconds() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}
