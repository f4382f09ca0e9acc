//! Responses of services: their directives, media types and bodies.

use std::time::Duration;

use bytes::Bytes;
use cache::{Content, Loaded, TimedChange, Value};
use contract::Tag;
use http::header::{
    AGE, CONTENT_ENCODING, CONTENT_TYPE, DATE, EXPIRES, SET_COOKIE, TRANSFER_ENCODING,
};
use http::{HeaderMap, HeaderValue, response};

use crate::http::body::Stream;
use crate::http::cache_control::{self, Seconds};
use crate::http::collect::{Collected, collect};
use crate::http::not_stored::NotStored;
use crate::http::{changes_at, date, surrogate_key};

/// The most tags that a response may have.
const MAX_TAGS: usize = 128;

/// The largest difference in seconds between the request and `Date` that counts as clock skew. A larger
/// one means that the response was generated earlier. A response from an intermediate cache has `Age`
/// (RFC 9111 §5.1).
const MAX_CLOCK_SKEW_S: u64 = 2;

/// The directives of a response, as they apply to its entry.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Directives {
    /// The longest TTL that the response allows, if it states one; zero: not stored.
    pub(super) max_ttl: Option<Duration>,
    /// The longest time by which the response may be older than its request.
    pub(super) behind: Duration,
    /// The tags of `Surrogate-Key`.
    pub(super) tags: Vec<Tag>,
    /// The next change of the value by the clock.
    pub(super) change: Option<TimedChange>,
    /// The reason why the response is not stored.
    pub(super) not_stored: Option<NotStored>,
}

/// Evaluates a response to a request that was sent at `requested_wall_ms`.
pub(super) fn directives(headers: &HeaderMap, requested_wall_ms: u64) -> Directives {
    let behind = behind(headers, requested_wall_ms);
    let forbid = |reason| Directives {
        max_ttl: Some(Duration::ZERO),
        behind,
        tags: Vec::new(),
        change: None,
        not_stored: Some(reason),
    };
    let (directives, targeted) = cache_control::Directives::effective(headers);
    if directives.no_store {
        return forbid(NotStored::NoStore);
    }
    if directives.private {
        return forbid(NotStored::Private);
    }
    if directives.no_cache {
        return forbid(NotStored::NoCache);
    }
    if headers.contains_key(SET_COOKIE) {
        return forbid(NotStored::SetCookie);
    }
    // A response with a malformed tag could not be purged by it.
    let Ok(tags) = surrogate_key::tags(headers, MAX_TAGS) else {
        return forbid(NotStored::Tags);
    };
    let Ok(changes_at) = changes_at::changes_at(headers) else {
        return forbid(NotStored::ChangesAt);
    };
    let change = changes_at.time().map(|at| TimedChange { at, shown: None });
    let lifetime = match (directives.s_maxage, directives.max_age) {
        (Seconds::Given(seconds), _) | (Seconds::Absent, Seconds::Given(seconds)) => Some(seconds),
        (Seconds::Invalid, _) | (_, Seconds::Invalid) => Some(0),
        _ if !targeted && headers.contains_key(EXPIRES) => {
            Some(cache_control::expires_in(headers, requested_wall_ms / 1_000).unwrap_or(0))
        }
        _ => None,
    };
    let age_s = u64::from(cache_control::age(headers));
    let max_ttl = lifetime.map(|seconds| Duration::from_secs(seconds.saturating_sub(age_s)));
    if max_ttl.is_some_and(|max| max.is_zero()) {
        return forbid(NotStored::NotFresh);
    }
    Directives { max_ttl, behind, tags, change, not_stored: None }
}

/// The longest time by which a response may be older than its request. `Age` is in whole seconds,
/// rounded down; only responses from an intermediate cache have it.
fn behind(headers: &HeaderMap, requested_wall_ms: u64) -> Duration {
    let by_age = match headers.contains_key(AGE) {
        true => Duration::from_secs(u64::from(cache_control::age(headers)) + 1),
        false => Duration::ZERO,
    };
    let date = headers.get(DATE).and_then(|date| date::parse(date.to_str().ok()?));
    let earlier_ms =
        date.map_or(0, |date| requested_wall_ms.saturating_sub(date.saturating_mul(1_000)));
    let by_date = match earlier_ms / 1_000 > MAX_CLOCK_SKEW_S {
        true => Duration::from_millis(earlier_ms),
        false => Duration::ZERO,
    };
    by_age.max(by_date)
}

/// The media type in lower case without parameters, and the field as received.
pub(super) fn media_type(headers: &HeaderMap) -> Option<(String, HeaderValue)> {
    let field = headers.get(CONTENT_TYPE)?;
    let text = field.to_str().ok()?;
    let kind = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    Some((kind, field.clone()))
}

pub(super) fn is_json(kind: &str) -> bool {
    kind == "application/json" || kind.ends_with("+json")
}

/// Reads the complete body.
///
/// # Errors
/// The problem as the end of a sentence whose subject is the service.
pub(super) async fn read_body(
    body: &mut Stream,
    head: &response::Parts,
    max_bytes: u64,
) -> Result<Bytes, String> {
    if head.headers.contains_key(CONTENT_ENCODING) {
        return Err(
            "returned an encoded body, although the request accepts only `identity`".to_owned()
        );
    }
    let length = body.size_hint().exact();
    if length.is_none() && !head.headers.contains_key(TRANSFER_ENCODING) {
        return Err("returned a body without Content-Length or chunked encoding".to_owned());
    }
    let too_large = || format!("returned a body larger than `value.max_body`, {max_bytes} bytes");
    if length.is_some_and(|length| length > max_bytes) {
        return Err(too_large());
    }
    match collect(body, max_bytes).await {
        Collected::Complete(bytes) => Ok(bytes),
        Collected::TooLarge => Err(too_large()),
        Collected::Incomplete(why) => Err(format!("ended its response early: {why}")),
    }
}

/// The value of a body. `media_type` is `None` for JSON, whose syntax is checked.
///
/// # Errors
/// The problem as the end of a sentence whose subject is the service.
pub(super) fn value(body: Bytes, media_type: Option<&HeaderValue>) -> Result<Loaded, String> {
    let Some(media_type) = media_type else {
        let parsed = serde_json::from_slice::<&serde_json::value::RawValue>(&body);
        parsed.map_err(|err| format!("returned invalid JSON: {err}"))?;
        return Ok(Loaded::value(body));
    };
    let head = Bytes::copy_from_slice(media_type.as_bytes());
    Ok(Loaded::of(Content::Present(Value { head, body })))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sun, 06 Nov 1994 08:49:37 GMT.
    const DATE_S: u64 = 784_111_777;
    const DATE_TEXT: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    fn evaluated(fields: &[(&'static str, &str)], requested_wall_ms: u64) -> Directives {
        let fields = fields.iter().map(|(name, value)| {
            let name = http::HeaderName::from_static(name);
            (name, HeaderValue::from_bytes(value.as_bytes()).expect("a value"))
        });
        directives(&fields.collect(), requested_wall_ms)
    }

    #[test]
    fn forbidden_response_not_stored() {
        for (field, reason) in [
            (("cache-control", "no-store"), "no-store"),
            (("cache-control", "max-age=60, private"), "private"),
            (("cache-control", "no-cache"), "no-cache"),
            (("cache-control", "max-age=0"), "not-fresh"),
            (("cache-control", "max-age=x"), "not-fresh"),
            (("cdn-cache-control", "no-store"), "no-store"),
            (("expires", "0"), "not-fresh"),
            (("set-cookie", "a=b"), "set-cookie"),
            (("surrogate-key", "caf\u{e9}"), "surrogate-key"),
        ] {
            let directives = evaluated(&[field], 0);
            let expected = (Some(reason), Some(Duration::ZERO));
            assert_eq!(
                (directives.not_stored.map(NotStored::as_str), directives.max_ttl),
                expected
            );
        }
    }

    #[test]
    fn stated_lifetime_limits_ttl() {
        let max_ttl = |fields: &[(&'static str, &str)]| evaluated(fields, 0).max_ttl;
        assert_eq!(max_ttl(&[]), None);
        assert_eq!(max_ttl(&[("cache-control", "max-age=60")]), Some(Duration::from_secs(60)));
        assert_eq!(
            max_ttl(&[("cache-control", "max-age=60, s-maxage=5"), ("age", "2")]),
            Some(Duration::from_secs(3))
        );
    }

    #[test]
    fn intermediate_cache_age_adds_to_bound() {
        let behind = |fields: &[(&'static str, &str)], ms| evaluated(fields, ms).behind;
        let seconds = Duration::from_secs;
        assert_eq!(behind(&[], 0), seconds(0));
        assert_eq!(behind(&[("age", "0")], 0), seconds(1), "Age is rounded down to whole seconds");
        assert_eq!(behind(&[("age", "7")], 0), seconds(8));
        assert!(behind(&[("age", "soon")], 0) > seconds(u64::from(u32::MAX)));
        let date = [("date", DATE_TEXT)];
        assert_eq!(behind(&date, DATE_S * 1_000), seconds(0));
        assert_eq!(behind(&date, DATE_S * 1_000 + 2_900), seconds(0), "within the clock skew");
        assert_eq!(behind(&date, DATE_S * 1_000 + 60_500), Duration::from_millis(60_500));
        assert_eq!(behind(&date, 0), seconds(0), "the service's clock is ahead");
    }

    #[test]
    fn json_checked_other_types_kept() {
        let body = Bytes::from_static;
        assert_eq!(value(body(b"{\"a\":1}"), None).expect("JSON").content, {
            let (head, body) = (Bytes::new(), body(b"{\"a\":1}"));
            Content::Present(Value { head, body })
        });
        for wrong in [&b"{\"a\":"[..], b"", b"{} {}", b"\xff"] {
            let err = value(Bytes::from_static(wrong), None).expect_err("invalid JSON");
            assert!(err.contains("invalid JSON"), "{err}");
        }
        let html = HeaderValue::from_static("text/html; charset=utf-8");
        let loaded = value(body(b"<p>"), Some(&html)).expect("not checked");
        let Content::Present(Value { head, .. }) = loaded.content else { panic!("a value") };
        assert_eq!(head, "text/html; charset=utf-8");
    }
}
