//! The drill's only clock. It measures from outside, so it needs the real one.

use std::time::Instant;

/// Now, on the monotonic clock that every time in this crate is taken from.
#[expect(clippy::disallowed_methods, reason = "a drill measures a running system in real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
