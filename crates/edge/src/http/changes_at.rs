//! `Tidegate-Changes-At`: the time at which a page or a service's value changes without a commit.

use coherence::ClockTime;
use http::header::{CACHE_CONTROL, EXPIRES};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::cache_control::{CDN_CACHE_CONTROL, with_max_age};
use super::date;

pub(crate) const TIDEGATE_CHANGES_AT: HeaderName = HeaderName::from_static("tidegate-changes-at");

/// The statement of a response about its next change by the clock.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ChangesAt {
    /// The response says nothing.
    Unstated,
    /// It does not change by the clock.
    Never,
    /// It changes at this time.
    At(ClockTime),
}

impl ChangesAt {
    /// Returns the time, if it changes at one.
    pub(crate) fn time(self) -> Option<ClockTime> {
        match self {
            Self::At(time) => Some(time),
            Self::Unstated | Self::Never => None,
        }
    }
}

/// A field is no time. The response might be kept past its change, so it is not stored.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct InvalidChangesAt;

/// Parses the fields of a response: each is an HTTP date, a number of seconds since 1970, or `never`. The earliest time
/// counts.
///
/// # Errors
/// [`InvalidChangesAt`] where a field is none of them.
pub(crate) fn changes_at(headers: &HeaderMap) -> Result<ChangesAt, InvalidChangesAt> {
    let mut found = ChangesAt::Unstated;
    for field in headers.get_all(TIDEGATE_CHANGES_AT) {
        let text = field.to_str().map_err(|_| InvalidChangesAt)?.trim();
        let time = match text {
            text if text.eq_ignore_ascii_case("never") => None,
            text => Some(parse(text).ok_or(InvalidChangesAt)?),
        };
        let earliest = [found.time(), time].into_iter().flatten().min();
        found = earliest.map_or(ChangesAt::Never, ChangesAt::At);
    }
    Ok(found)
}

fn parse(text: &str) -> Option<ClockTime> {
    ClockTime::parse_seconds(text).or_else(|| {
        let seconds = date::parse(text)?;
        ClockTime::from_micros(seconds.checked_mul(1_000_000)?)
    })
}

/// Shortens the lifetimes that a response gives to clients and caches behind, so that none of them is longer than `seconds`
/// at its arrival here. `age_s`: its age then; `now_s`: wall time.
pub(crate) fn shorten_lifetimes(headers: &mut HeaderMap, seconds: u64, age_s: u32, now_s: u64) {
    let longest = seconds.saturating_add(age_s.into());
    for name in [CACHE_CONTROL, CDN_CACHE_CONTROL] {
        let fields: Vec<HeaderValue> = headers.get_all(&name).iter().cloned().collect();
        headers.remove(&name);
        for field in fields {
            headers.append(&name, with_max_age(field, longest));
        }
    }
    let expires = headers.get(EXPIRES).and_then(|field| date::parse(field.to_str().ok()?));
    let end = now_s.saturating_add(seconds);
    if expires.is_some_and(|expires| expires > end) {
        headers.insert(EXPIRES, date::at(end));
    }
}

#[cfg(test)]
mod tests {
    use http::header::DATE;

    use super::*;

    fn read(fields: &[&'static str]) -> Result<ChangesAt, InvalidChangesAt> {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(TIDEGATE_CHANGES_AT, HeaderValue::from_static(field));
        }
        changes_at(&headers)
    }

    fn at(micros: u64) -> Result<ChangesAt, InvalidChangesAt> {
        Ok(ChangesAt::At(ClockTime::from_micros(micros).expect("a time")))
    }

    #[test]
    fn earliest_time_counts() {
        assert_eq!(read(&[]), Ok(ChangesAt::Unstated));
        assert_eq!(read(&["never"]), Ok(ChangesAt::Never));
        assert_eq!(read(&["1764532800.25"]), at(1_764_532_800_250_000));
        assert_eq!(read(&["Sun, 30 Nov 2025 20:00:00 GMT"]), at(1_764_532_800_000_000));
        assert_eq!(read(&["1764532801", "Never", "1764532800"]), at(1_764_532_800_000_000));
    }

    #[test]
    fn malformed_time_is_refused() {
        for field in ["", "tomorrow", "2025-11-30 20:00", "-1", "0", "NaN"] {
            assert_eq!(read(&[field]), Err(InvalidChangesAt), "{field:?}");
            assert_eq!(read(&["never", field]), Err(InvalidChangesAt), "{field:?}");
        }
    }

    #[test]
    fn lifetimes_end_with_the_change() {
        let mut headers = HeaderMap::from_iter([
            (CACHE_CONTROL, HeaderValue::from_static("public, max-age=300, S-MaxAge=\"60\"")),
            (CDN_CACHE_CONTROL, HeaderValue::from_static("max-age=5")),
            (EXPIRES, HeaderValue::from_static("Sun, 30 Nov 2025 21:00:00 GMT")),
            (DATE, HeaderValue::from_static("Sun, 30 Nov 2025 20:00:00 GMT")),
        ]);
        shorten_lifetimes(&mut headers, 20, 2, 1_764_532_800);
        assert_eq!(headers[CACHE_CONTROL], "public, max-age=22, S-MaxAge=22");
        assert_eq!(headers[CDN_CACHE_CONTROL], "max-age=5");
        assert_eq!(headers[EXPIRES], "Sun, 30 Nov 2025 20:00:20 GMT");
    }
}
