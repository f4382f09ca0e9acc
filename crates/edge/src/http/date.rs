//! HTTP dates (RFC 9110 §5.6.7).

use std::time::{Duration, UNIX_EPOCH};

use coherence::Clock;
use http::HeaderValue;

/// Parses an HTTP date into seconds since 1970. `None`: not a date, or before 1970.
pub(crate) fn parse(text: &str) -> Option<u64> {
    let time = httpdate::parse_http_date(text).ok()?;
    time.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs())
}

/// The value of `Date` for the current wall time.
pub(crate) fn now(clock: &dyn Clock) -> HeaderValue {
    let now = UNIX_EPOCH + Duration::from_millis(clock.wall_ms());
    HeaderValue::try_from(httpdate::fmt_http_date(now)).expect("a date is visible ASCII")
}
