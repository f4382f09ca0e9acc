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
    value(Duration::from_millis(clock.wall_ms()))
}

/// The value of a date that many seconds after 1970; the last one that HTTP can write is in the year 9999.
pub(crate) fn at(seconds: u64) -> HeaderValue {
    value(Duration::from_secs(seconds.min(253_402_300_799)))
}

fn value(since_1970: Duration) -> HeaderValue {
    let text = httpdate::fmt_http_date(UNIX_EPOCH + since_1970);
    HeaderValue::try_from(text).expect("a date is visible ASCII")
}
