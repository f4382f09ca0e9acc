//! What an answer of a service is, and what it says of itself.

use std::time::Duration;

use bytes::Bytes;
use cache::{Content, Loaded, Value};
use contract::Tag;
use http::header::{
    AGE, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, DATE, EXPIRES, SET_COOKIE,
    TRANSFER_ENCODING,
};
use http::{HeaderMap, HeaderValue, response};

use crate::body::Stream;
use crate::directives::{Directives, Seconds};
use crate::load::{Collected, collect};
use crate::storable::{self, CDN_CACHE_CONTROL, http_date};

/// The most tags that an answer may carry.
const MOST_TAGS: usize = 128;

/// By so much two clocks may differ, and a server's `Date` lag, before it is taken to mean that an
/// answer was made earlier. What a cache on the way has kept says its `Age` (RFC 9111 §5.1).
const CLOCKS: u64 = 2;

/// What an answer says of itself.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Judged {
    /// How long it may be kept, if it says so; zero: not at all.
    pub(super) allowed: Option<Duration>,
    /// By how much it may be older than its request.
    pub(super) behind: Duration,
    /// What it says that it was made from.
    pub(super) tags: Vec<Tag>,
    /// Why it may not be kept.
    pub(super) reason: Option<&'static str>,
}

/// Judges an answer that was asked for at `asked_wall_ms`.
pub(super) fn judge(headers: &HeaderMap, asked_wall_ms: u64) -> Judged {
    let behind = behind(headers, asked_wall_ms);
    let forbids = |reason| Judged {
        allowed: Some(Duration::ZERO),
        behind,
        tags: Vec::new(),
        reason: Some(reason),
    };
    let targeted = Directives::targeted(&headers.get_all(CDN_CACHE_CONTROL));
    let directives = targeted
        .or_else(|| Directives::cache_control(&headers.get_all(CACHE_CONTROL)))
        .unwrap_or_default();
    if directives.no_store {
        return forbids("no-store");
    }
    if directives.private {
        return forbids("private");
    }
    if directives.no_cache {
        return forbids("no-cache");
    }
    if headers.contains_key(SET_COOKIE) {
        return forbids("set-cookie");
    }
    // What can't be read could never be purged.
    let Ok(tags) = storable::tags(headers, MOST_TAGS) else { return forbids("surrogate-key") };
    let lifetime = match (directives.s_maxage, directives.max_age) {
        (Seconds::Given(seconds), _) | (Seconds::Absent, Seconds::Given(seconds)) => Some(seconds),
        (Seconds::Invalid, _) | (_, Seconds::Invalid) => Some(0),
        _ if targeted.is_none() && headers.contains_key(EXPIRES) => {
            Some(storable::expires(headers, asked_wall_ms / 1_000).unwrap_or(0))
        }
        _ => None,
    };
    let allowed = lifetime.map(|seconds| {
        Duration::from_secs(seconds.saturating_sub(u64::from(storable::age(headers))))
    });
    if allowed.is_some_and(|allowed| allowed.is_zero()) {
        return forbids("not-fresh");
    }
    Judged { allowed, behind, tags, reason: None }
}

/// `Age` is of whole seconds, cut off; there is one only where a cache on the way has answered.
fn behind(headers: &HeaderMap, asked_wall_ms: u64) -> Duration {
    let by_age = match headers.contains_key(AGE) {
        true => Duration::from_secs(u64::from(storable::age(headers)) + 1),
        false => Duration::ZERO,
    };
    let date = headers.get(DATE).and_then(|date| http_date(date.to_str().ok()?));
    let earlier = date.map_or(0, |date| asked_wall_ms.saturating_sub(date.saturating_mul(1_000)));
    let told = earlier / 1_000 > CLOCKS;
    let by_date = if told { Duration::from_millis(earlier) } else { Duration::ZERO };
    by_age.max(by_date)
}

/// The media type, in lower case without its parameters, and the field as it was sent.
pub(super) fn media_type(headers: &HeaderMap) -> Option<(String, HeaderValue)> {
    let sent = headers.get(CONTENT_TYPE)?;
    let text = sent.to_str().ok()?;
    let kind = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    Some((kind, sent.clone()))
}

pub(super) fn is_json(kind: &str) -> bool {
    kind == "application/json" || kind.ends_with("+json")
}

/// The whole body, or what is the matter with it.
pub(super) async fn collected(
    body: &mut Stream,
    head: &response::Parts,
    most: u64,
) -> Result<Bytes, String> {
    if head.headers.contains_key(CONTENT_ENCODING) {
        return Err("answered something encoded, which was not asked for".to_owned());
    }
    let length = body.size_hint().exact();
    if length.is_none() && !head.headers.contains_key(TRANSFER_ENCODING) {
        return Err("says neither how long its answer is nor where it ends".to_owned());
    }
    let too_large = || format!("answered more than `value.max_body`, {most} bytes");
    if length.is_some_and(|length| length > most) {
        return Err(too_large());
    }
    match collect(body, most).await {
        Collected::Whole(whole) => Ok(whole),
        Collected::Larger(_) => Err(too_large()),
        Collected::Broken(why) => Err(format!("broke off its answer: {why}")),
    }
}

/// The value of a body. `kind`: its type, where it is not JSON, which is checked to be JSON.
pub(super) fn value(body: Bytes, kind: Option<&HeaderValue>) -> Result<Loaded, String> {
    let Some(kind) = kind else {
        let read = serde_json::from_slice::<&serde_json::value::RawValue>(&body);
        read.map_err(|err| format!("answered something that is no JSON: {err}"))?;
        return Ok(Loaded::value(body));
    };
    let head = Bytes::copy_from_slice(kind.as_bytes());
    Ok(Loaded::of(Content::Present(Value { head, body })))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sun, 06 Nov 1994 08:49:37 GMT.
    const DATE_S: u64 = 784_111_777;
    const DATE_TEXT: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    fn judged(fields: &[(&'static str, &str)], asked_wall_ms: u64) -> Judged {
        let fields = fields.iter().map(|(name, value)| {
            let name = http::HeaderName::from_static(name);
            (name, HeaderValue::from_str(value).expect("plain"))
        });
        judge(&fields.collect(), asked_wall_ms)
    }

    #[test]
    fn what_may_not_be_shared_is_not_kept() {
        for (field, reason) in [
            (("cache-control", "no-store"), "no-store"),
            (("cache-control", "max-age=60, private"), "private"),
            (("cache-control", "no-cache"), "no-cache"),
            (("cache-control", "max-age=0"), "not-fresh"),
            (("cache-control", "max-age=x"), "not-fresh"),
            (("cdn-cache-control", "no-store"), "no-store"),
            (("expires", "0"), "not-fresh"),
            (("set-cookie", "a=b"), "set-cookie"),
            (("surrogate-key", "\u{7f}"), "surrogate-key"),
        ] {
            if HeaderValue::from_str(field.1).is_err() {
                continue;
            }
            let judged = judged(&[field], 0);
            assert_eq!((judged.reason, judged.allowed), (Some(reason), Some(Duration::ZERO)));
        }
    }

    #[test]
    fn a_life_that_is_told_is_a_limit_and_none_is_none() {
        let allowed = |fields: &[(&'static str, &str)]| judged(fields, 0).allowed;
        assert_eq!(allowed(&[]), None);
        assert_eq!(allowed(&[("cache-control", "max-age=60")]), Some(Duration::from_secs(60)));
        assert_eq!(
            allowed(&[("cache-control", "max-age=60, s-maxage=5"), ("age", "2")]),
            Some(Duration::from_secs(3))
        );
    }

    #[test]
    fn what_was_kept_on_the_way_is_so_much_older() {
        let behind = |fields: &[(&'static str, &str)], ms| judged(fields, ms).behind;
        let seconds = Duration::from_secs;
        assert_eq!(behind(&[], 0), seconds(0));
        assert_eq!(behind(&[("age", "0")], 0), seconds(1), "up to a second, cut off");
        assert_eq!(behind(&[("age", "7")], 0), seconds(8));
        assert!(behind(&[("age", "soon")], 0) > seconds(u64::from(u32::MAX)));
        let date = [("date", DATE_TEXT)];
        assert_eq!(behind(&date, DATE_S * 1_000), seconds(0));
        assert_eq!(behind(&date, DATE_S * 1_000 + 2_900), seconds(0), "clocks differ");
        assert_eq!(behind(&date, DATE_S * 1_000 + 60_500), Duration::from_millis(60_500));
        assert_eq!(behind(&date, 0), seconds(0), "its clock is ahead");
    }

    #[test]
    fn json_is_checked_and_other_types_keep_their_name() {
        let body = Bytes::from_static;
        assert_eq!(value(body(b"{\"a\":1}"), None).expect("JSON").content, {
            let (head, body) = (Bytes::new(), body(b"{\"a\":1}"));
            Content::Present(Value { head, body })
        });
        for wrong in [&b"{\"a\":"[..], b"", b"{} {}", b"\xff"] {
            let err = value(Bytes::from_static(wrong), None).expect_err("no JSON");
            assert!(err.contains("no JSON"), "{err}");
        }
        let html = HeaderValue::from_static("text/html; charset=utf-8");
        let loaded = value(body(b"<p>"), Some(&html)).expect("passed through");
        let Content::Present(Value { head, .. }) = loaded.content else { panic!("a value") };
        assert_eq!(head, "text/html; charset=utf-8");
    }
}
