//! Responses built from stored pages.

use std::time::Duration;

use cache::{Answer, Proof, Stale, Tier};
use contract::Evidence;
use http::header::{
    AGE, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_LOCATION, DATE, ETAG, EXPIRES, HeaderMap,
    HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, VARY, VIA,
};
use http::{HeaderName, Method, Response, StatusCode};

use super::stored_head::{self, StoredMetadata};
use super::thread_cache;
use crate::http::body::Body;
use crate::http::date;
use crate::http::forwarding::has_cookies;
use crate::http::freshness::{self, CACHE_STATUS, ServedBy, TIDEGATE_FRESHNESS};
use crate::http::request_id::X_REQUEST_ID;
use crate::settings::routes::Route;

/// The most headers that [`stored_page`] adds.
const ADDED_HEADERS: usize = 6;

/// The reason why a stored page does not serve a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Unusable {
    /// The page is not explicitly shared, and the request has cookies.
    Cookies,
    /// The page's lifetime has passed, and its directives forbid serving it stale; or its age alone proves it,
    /// and is past the budget.
    Expired,
    /// The page's age alone proves it, and it may lack the write of the client's token.
    Token,
    /// The entry has no page, or bytes of another form.
    Malformed,
}

/// Builds the response to a `GET` or `HEAD` from a stored page; a 304 where the client's copy is
/// current. `may_revalidate`: whether the request may have `If-None-Match` or `If-Modified-Since`.
/// `has_write`: whether the entry was loaded late enough to include the write of the client's token.
///
/// # Errors
/// [`Unusable`] where the page may not serve this request.
pub(crate) fn stored_page(
    answer: &Answer,
    route: &Route,
    method: &Method,
    request: &HeaderMap,
    may_revalidate: bool,
    has_write: bool,
    request_id: impl FnOnce() -> HeaderValue,
) -> Result<Response<Body>, Unusable> {
    let cache::Content::Present(value) = answer.entry.content() else {
        return Err(Unusable::Malformed);
    };
    let (name, mut proof) = (&*route.policy.rules.name, answer.proof());
    let plain = freshness::is_plain_hit(&proof);
    let decoded = match plain {
        true => thread_cache::decode(&value.head),
        false => stored_head::decode(&value.head, ADDED_HEADERS),
    };
    let (metadata, mut headers) = decoded.ok_or(Unusable::Malformed)?;
    if !metadata.shared && has_cookies(request) {
        return Err(Unusable::Cookies);
    }
    let resident_s = proof.age.as_secs();
    if metadata.revalidate && resident_s > u64::from(metadata.lifetime_s) {
        return Err(Unusable::Expired);
    }
    let evidence = route.evidence_under(metadata.proven_by);
    if evidence == Evidence::Age {
        proof = proof_by_age(&proof, &metadata, route.policy.rules.budget, has_write)?;
    }
    let plain = plain && freshness::is_plain_hit(&proof);
    let StoredMetadata { status, age_s, .. } = metadata;
    let not_modified = may_revalidate && status == StatusCode::OK && is_current(request, &headers);
    if not_modified {
        headers = not_modified_headers(headers);
    }
    let age = thread_cache::age(u64::from(age_s).saturating_add(resident_s));
    if plain && !not_modified {
        thread_cache::fill_in(
            &mut headers,
            age,
            thread_cache::tidegate_freshness(&proof, name, evidence),
            request_id(),
        );
    } else {
        headers.insert(AGE, age);
        headers.append(CACHE_STATUS, freshness::cache_status(&proof));
        headers.insert(
            TIDEGATE_FRESHNESS,
            freshness::tidegate_freshness(&proof, name, ServedBy::Gateway(evidence)),
        );
        headers.insert(X_REQUEST_ID, request_id());
    }
    let body = if not_modified {
        Body::Empty
    } else if let Some(body) = &answer.body {
        // Loads are of GET requests only.
        Body::partial(body)
    } else if *method == Method::HEAD {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(value.body.len()));
        Body::Empty
    } else {
        Body::complete(value.body)
    };
    let mut response = Response::new(body);
    *response.status_mut() = if not_modified { StatusCode::NOT_MODIFIED } else { status };
    *response.headers_mut() = headers;
    Ok(response)
}

/// The proof of a page that no log covers: every change before its load is in it.
fn proof_by_age(
    proof: &Proof,
    metadata: &StoredMetadata,
    budget: Duration,
    has_write: bool,
) -> Result<Proof, Unusable> {
    let age = proof.age.saturating_add(metadata.age());
    let is_stored = proof.tier != Tier::Origin;
    if is_stored && !has_write {
        return Err(Unusable::Token);
    }
    let is_old = age > budget && proof.stale.is_none();
    if is_old && is_stored {
        return Err(Unusable::Expired);
    }
    // A response that is too old on arrival is all that the upstream has.
    let stale = proof.stale.or(is_old.then_some(Stale::Unproven));
    Ok(Proof { bound: Some(age), stale, ..*proof })
}

/// Whether the client's copy is the stored page: the steps of RFC 9110 §13.2.2 that a cache takes for
/// `GET` and `HEAD`.
fn is_current(request: &HeaderMap, stored: &HeaderMap) -> bool {
    if request.contains_key(IF_NONE_MATCH) {
        let tag = stored.get(ETAG).and_then(|tag| tag.to_str().ok()).map(opaque);
        return request.get_all(IF_NONE_MATCH).iter().any(|field| {
            field.to_str().is_ok_and(|field| field.trim() == "*" || lists_tag(field, tag))
        });
    }
    let seconds =
        |value: Option<&HeaderValue>| value.and_then(|value| date::parse(value.to_str().ok()?));
    match (seconds(request.get(IF_MODIFIED_SINCE)), seconds(stored.get(LAST_MODIFIED))) {
        (Some(since), Some(modified)) => modified <= since,
        _ => false,
    }
}

/// Compares weakly (RFC 9110 §8.8.3.2) with each entity tag of a list. A tag may contain commas, so
/// the list is split at quotes.
fn lists_tag(field: &str, tag: Option<&str>) -> bool {
    let Some(tag) = tag else { return false };
    field.split('"').skip(1).step_by(2).any(|listed| listed == tag)
}

/// The entity tag without `W/` and quotes.
fn opaque(tag: &str) -> &str {
    let tag = tag.strip_prefix("W/").unwrap_or(tag);
    tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).unwrap_or(tag)
}

/// The headers of a 304 (RFC 9110 §15.4.5).
fn not_modified_headers(stored: HeaderMap) -> HeaderMap {
    const KEPT: [HeaderName; 7] = [CACHE_CONTROL, CONTENT_LOCATION, DATE, ETAG, EXPIRES, VARY, VIA];
    let mut kept = HeaderMap::with_capacity(KEPT.len() + ADDED_HEADERS);
    for name in &KEPT {
        for value in stored.get_all(name) {
            kept.append(name, value.clone());
        }
    }
    // Without an entity tag, only the date tells versions apart.
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

    fn current(
        request: &[(HeaderName, &'static str)],
        stored: &[(HeaderName, &'static str)],
    ) -> bool {
        let map = |fields: &[(HeaderName, &'static str)]| {
            fields.iter().map(|(n, v)| (n.clone(), HeaderValue::from_static(v))).collect()
        };
        is_current(&map(request), &map(stored))
    }

    #[test]
    fn entity_tags_compared_weakly() {
        for (listed, stored, expected) in [
            ("\"a\"", "\"a\"", true),
            ("W/\"a\"", "\"a\"", true),
            ("\"x\", W/\"a,b\"", "\"a,b\"", true),
            ("*", "\"a\"", true),
            ("\"b\"", "\"a\"", false),
            ("a", "\"a\"", false),
            ("\"", "\"a\"", false),
        ] {
            assert_eq!(
                current(&[(IF_NONE_MATCH, listed)], &[(ETAG, stored)]),
                expected,
                "{listed}"
            );
        }
    }

    #[test]
    fn entity_tag_takes_precedence_over_date() {
        let noon = "Sun, 06 Nov 1994 12:00:00 GMT";
        let stored = [(ETAG, "\"a\""), (LAST_MODIFIED, noon)];
        assert!(current(&[(IF_MODIFIED_SINCE, noon)], &stored));
        assert!(!current(&[(IF_MODIFIED_SINCE, noon), (IF_NONE_MATCH, "\"b\"")], &stored));
        assert!(!current(&[(IF_MODIFIED_SINCE, "yesterday")], &stored));
    }
}
