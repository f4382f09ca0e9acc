//! A stored page as an answer.

use cache::Answer;
use http::header::{
    AGE, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_LOCATION, DATE, ETAG, EXPIRES, HeaderMap,
    HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, VARY, VIA,
};
use http::{HeaderName, Method, Response, StatusCode};

use crate::body::Body;
use crate::head::{self, Facts};
use crate::proof::{self, CACHE_STATUS, Face, TIDEGATE_FRESHNESS};
use crate::ready;
use crate::request_id::X_REQUEST_ID;
use crate::storable::http_date;

/// How many headers [`page`] adds at most.
const ADDED: usize = 6;

/// Why a stored page can't answer this request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Unfit {
    /// It is not explicitly shared, and the request has cookies.
    Cookies,
    /// It has outlived its lifetime and says that it may not be served then.
    Expired,
    /// It holds no page, or bytes that we did not write.
    Malformed,
}

/// Answers `GET` and `HEAD` from a stored page; 304 where the client has it already, which need not
/// be looked for where it is known not to say so.
pub(crate) fn page(
    answer: &Answer,
    policy: &str,
    method: &Method,
    asked: &HeaderMap,
    may_have_it: bool,
    request_id: impl FnOnce() -> HeaderValue,
) -> Result<Response<Body>, Unfit> {
    let cache::Content::Present(value) = &answer.entry.content else {
        return Err(Unfit::Malformed);
    };
    let proof = answer.proof();
    let plain = proof::is_plain_hit(&proof);
    let read = if plain { ready::read(&value.head) } else { head::read(&value.head, ADDED) };
    let (facts, mut headers) = read.ok_or(Unfit::Malformed)?;
    if !facts.shared && crate::forward::has_cookies(asked) {
        return Err(Unfit::Cookies);
    }
    let resident_s = proof.age.as_secs();
    if facts.revalidate && resident_s > u64::from(facts.lifetime_s) {
        return Err(Unfit::Expired);
    }
    let Facts { status, age_s, .. } = facts;
    let not_modified = may_have_it && status == StatusCode::OK && client_has_it(asked, &headers);
    if not_modified {
        headers = of_not_modified(headers);
    }
    let age = ready::age(u64::from(age_s).saturating_add(resident_s));
    if plain && !not_modified {
        ready::complete(&mut headers, age, ready::freshness(&proof, policy), request_id());
    } else {
        headers.insert(AGE, age);
        headers.append(CACHE_STATUS, proof::cache_status(&proof));
        headers.insert(TIDEGATE_FRESHNESS, proof::freshness(&proof, policy, Face::Gateway));
        headers.insert(X_REQUEST_ID, request_id());
    }
    let body = if not_modified {
        Body::Empty
    } else if *method == Method::HEAD {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(value.body.len()));
        Body::Empty
    } else {
        Body::whole(value.body.clone())
    };
    let mut response = Response::new(body);
    *response.status_mut() = if not_modified { StatusCode::NOT_MODIFIED } else { status };
    *response.headers_mut() = headers;
    Ok(response)
}

/// RFC 9110 §13.2.2, the steps for `GET` and `HEAD` that a cache takes.
fn client_has_it(asked: &HeaderMap, stored: &HeaderMap) -> bool {
    if asked.contains_key(IF_NONE_MATCH) {
        let tag = stored.get(ETAG).and_then(|tag| tag.to_str().ok()).map(opaque);
        return asked.get_all(IF_NONE_MATCH).iter().any(|field| {
            field.to_str().is_ok_and(|field| field.trim() == "*" || lists(field, tag))
        });
    }
    let seconds =
        |value: Option<&HeaderValue>| value.and_then(|value| http_date(value.to_str().ok()?));
    match (seconds(asked.get(IF_MODIFIED_SINCE)), seconds(stored.get(LAST_MODIFIED))) {
        (Some(since), Some(modified)) => modified <= since,
        _ => false,
    }
}

/// Weak comparison (RFC 9110 §8.8.3.2) with each tag of a list. A tag may hold commas, so the
/// list is cut at quotes.
fn lists(field: &str, tag: Option<&str>) -> bool {
    let Some(tag) = tag else { return false };
    field.split('"').skip(1).step_by(2).any(|listed| listed == tag)
}

/// The tag without `W/` and quotes.
fn opaque(tag: &str) -> &str {
    let tag = tag.strip_prefix("W/").unwrap_or(tag);
    tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).unwrap_or(tag)
}

/// RFC 9110 §15.4.5: what a 304 repeats.
fn of_not_modified(stored: HeaderMap) -> HeaderMap {
    const KEPT: [HeaderName; 7] = [CACHE_CONTROL, CONTENT_LOCATION, DATE, ETAG, EXPIRES, VARY, VIA];
    let mut kept = HeaderMap::with_capacity(KEPT.len() + ADDED);
    for name in &KEPT {
        for value in stored.get_all(name) {
            kept.append(name, value.clone());
        }
    }
    // Without an entity tag the date is all the client can tell versions apart by.
    if !kept.contains_key(ETAG)
        && let Some(modified) = stored.get(LAST_MODIFIED)
    {
        kept.insert(LAST_MODIFIED, modified.clone());
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has_it(asked: &[(HeaderName, &'static str)], stored: &[(HeaderName, &'static str)]) -> bool {
        let map = |fields: &[(HeaderName, &'static str)]| {
            fields.iter().map(|(n, v)| (n.clone(), HeaderValue::from_static(v))).collect()
        };
        client_has_it(&map(asked), &map(stored))
    }

    #[test]
    fn entity_tags_are_compared_weakly() {
        for (asked, stored, expected) in [
            ("\"a\"", "\"a\"", true),
            ("W/\"a\"", "\"a\"", true),
            ("\"x\", W/\"a,b\"", "\"a,b\"", true),
            ("*", "\"a\"", true),
            ("\"b\"", "\"a\"", false),
            ("a", "\"a\"", false),
            ("\"", "\"a\"", false),
        ] {
            assert_eq!(has_it(&[(IF_NONE_MATCH, asked)], &[(ETAG, stored)]), expected, "{asked}");
        }
    }

    #[test]
    fn the_tag_goes_before_the_date() {
        let noon = "Sun, 06 Nov 1994 12:00:00 GMT";
        let stored = [(ETAG, "\"a\""), (LAST_MODIFIED, noon)];
        assert!(has_it(&[(IF_MODIFIED_SINCE, noon)], &stored));
        assert!(!has_it(&[(IF_MODIFIED_SINCE, noon), (IF_NONE_MATCH, "\"b\"")], &stored));
        assert!(!has_it(&[(IF_MODIFIED_SINCE, "yesterday")], &stored));
    }
}
