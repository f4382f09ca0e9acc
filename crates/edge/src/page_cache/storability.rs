//! Storability: whether a response may be stored and shared, and for how long.
//!
//! Only explicitly fresh and shareable responses are stored; all others pass through unchanged.
//!
//! * Status 200, 301, 308, 404 or 410, and explicit freshness: no heuristics.
//! * Lifetime: `CDN-Cache-Control: max-age` (RFC 9213; where it is well formed, `Cache-Control` and
//!   `Expires` are ignored), else `s-maxage`, else `max-age`, else `Expires` − `Date`; less the
//!   upstream's own `Age`. Contradictory or malformed values count as stale.
//! * Never with `Set-Cookie`, `private`, `no-store`, `no-cache`, or `Vary` on any field that is not in the key:
//!   `Accept-Encoding` is, and the headers that the route names.
//! * The response to a request with cookies is stored only if it is explicitly shared: `public`,
//!   `s-maxage` or `CDN-Cache-Control`. A request with cookies is served only from such an entry.
//! * Never without framing: a body that ends when the connection closes may be truncated.
//! * Never with a malformed `Surrogate-Key`: the page could not be purged by its tags. Nor with a malformed
//!   `Tidegate-Changes-At`: it could be kept past its change.

use std::time::Duration;

use contract::Tag;
use http::header::{SET_COOKIE, VARY};
use http::{HeaderMap, HeaderName, StatusCode};

use crate::http::cache_control::{Directives, Seconds, age, expires_in};
use crate::http::changes_at::{ChangesAt, changes_at};
use crate::http::not_stored::NotStored;
use crate::http::surrogate_key::tags;

/// How a storable response may be stored.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Storable {
    /// The remaining lifetime; more than zero.
    pub(crate) lifetime: Duration,
    /// The response's age when it arrived, in seconds.
    pub(crate) age_s: u32,
    /// Whether requests with cookies may be served from it too.
    pub(crate) shared: bool,
    /// Whether it must not be served beyond its lifetime.
    pub(crate) revalidate: bool,
    /// The tags of `Surrogate-Key`.
    pub(crate) tags: Vec<Tag>,
    /// The next change by the clock.
    pub(crate) changes_at: ChangesAt,
}

/// The circumstances of a request that storability depends on, beside the response.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestContext<'a> {
    /// The headers in the key.
    pub(crate) keyed: &'a [HeaderName],
    /// Whether the request has cookies.
    pub(crate) cookies: bool,
    /// Wall time for an `Expires` without `Date`, in seconds since 1970.
    pub(crate) now_s: u64,
    /// The most tags that an entry may have.
    pub(crate) max_tags: usize,
}

/// Decides from its head whether the response to a `GET` without `Authorization` may be stored.
///
/// # Errors
/// The reason why not.
pub(crate) fn evaluate(
    status: StatusCode,
    headers: &HeaderMap,
    context: RequestContext<'_>,
) -> Result<Storable, NotStored> {
    if !matches!(status.as_u16(), 200 | 301 | 308 | 404 | 410) {
        return Err(NotStored::Status);
    }
    if headers.contains_key(SET_COOKIE) {
        return Err(NotStored::SetCookie);
    }
    if !varies_by_key_only(headers, context.keyed) {
        return Err(NotStored::Vary);
    }
    let (directives, targeted) = Directives::effective(headers);
    if directives.no_store {
        return Err(NotStored::NoStore);
    }
    if directives.private {
        return Err(NotStored::Private);
    }
    if directives.no_cache {
        return Err(NotStored::NoCache);
    }
    let age_s = age(headers);
    let lifetime = lifetime(&directives, targeted, headers, context.now_s);
    let lifetime = lifetime.unwrap_or(0).saturating_sub(u64::from(age_s));
    if lifetime == 0 {
        return Err(NotStored::NotFresh);
    }
    let shared = targeted || directives.public || matches!(directives.s_maxage, Seconds::Given(_));
    if context.cookies && !shared {
        return Err(NotStored::Cookie);
    }
    Ok(Storable {
        lifetime: Duration::from_secs(lifetime),
        age_s,
        shared,
        revalidate: directives.revalidate,
        tags: tags(headers, context.max_tags)?,
        changes_at: changes_at(headers)?,
    })
}

fn lifetime(
    directives: &Directives,
    targeted: bool,
    headers: &HeaderMap,
    now_s: u64,
) -> Option<u64> {
    for seconds in [directives.s_maxage, directives.max_age] {
        match seconds {
            Seconds::Given(seconds) => return Some(seconds),
            Seconds::Invalid => return None,
            Seconds::Absent => {}
        }
    }
    if targeted { None } else { expires_in(headers, now_s) }
}

fn varies_by_key_only(headers: &HeaderMap, keyed: &[HeaderName]) -> bool {
    let is_keyed = |name: &str| {
        name.eq_ignore_ascii_case("accept-encoding")
            || keyed.iter().any(|keyed| name.eq_ignore_ascii_case(keyed.as_str()))
    };
    headers.get_all(VARY).iter().all(|field| {
        field.to_str().is_ok_and(|field| {
            field.split(',').map(str::trim).all(|name| name.is_empty() || is_keyed(name))
        })
    })
}

#[cfg(test)]
#[path = "storability_tests.rs"]
mod tests;
