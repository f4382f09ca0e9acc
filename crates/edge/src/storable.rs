//! Whether a response may be kept for others, and how long.
//!
//! Only what is explicitly fresh and safe is stored; everything else goes through untouched.
//!
//! * Status 200, 301, 308, 404 or 410, and never without explicit freshness: no heuristics.
//! * Lifetime: `CDN-Cache-Control: max-age` (RFC 9213; where it is well formed, `Cache-Control` and
//!   `Expires` say nothing to us), else `s-maxage`, else `max-age`, else `Expires` − `Date`; less
//!   the upstream's own `Age`. Contradicting or unreadable values count as stale.
//! * Never with `Set-Cookie`, `private`, `no-store`, `no-cache`, or `Vary` on anything but
//!   `Accept-Encoding` (which is in the key).
//! * A request that carried cookies fills the store only if the response is explicitly shared:
//!   `public`, `s-maxage` or `CDN-Cache-Control`; and is answered only from such an entry.
//! * Never without a proven end: a body that merely stops when the connection closes could be half
//!   of one.
//! * A `Surrogate-Key` that can't be read: whatever it was meant to purge could never be purged.

use std::time::Duration;

use contract::Tag;
use http::header::{AGE, CACHE_CONTROL, DATE, EXPIRES, SET_COOKIE, VARY};
use http::{HeaderMap, HeaderName, StatusCode};

use crate::directives::{Directives, Seconds, delta_seconds};

pub(crate) const SURROGATE_KEY: HeaderName = HeaderName::from_static("surrogate-key");
pub(crate) const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");

/// What the response allows.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Storable {
    /// How long it is still fresh; more than zero.
    pub(crate) lifetime: Duration,
    /// How old it already was, in seconds.
    pub(crate) age: u32,
    /// Whether clients with cookies may get it too.
    pub(crate) shared: bool,
    /// Whether it may never be served beyond its lifetime.
    pub(crate) revalidate: bool,
    /// Its surrogate keys.
    pub(crate) tags: Vec<Tag>,
}

/// Why a response is not stored.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Reason {
    Status,
    SetCookie,
    NoStore,
    Private,
    NoCache,
    NotFresh,
    Vary,
    Cookie,
    Tags,
    Unframed,
    TooLarge,
}

impl Reason {
    pub(crate) const ALL: [Self; 11] = [
        Self::Status,
        Self::SetCookie,
        Self::NoStore,
        Self::Private,
        Self::NoCache,
        Self::NotFresh,
        Self::Vary,
        Self::Cookie,
        Self::Tags,
        Self::Unframed,
        Self::TooLarge,
    ];

    /// The name used in `Cache-Status` details and metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::SetCookie => "set-cookie",
            Self::NoStore => "no-store",
            Self::Private => "private",
            Self::NoCache => "no-cache",
            Self::NotFresh => "not-fresh",
            Self::Vary => "vary",
            Self::Cookie => "cookie",
            Self::Tags => "surrogate-key",
            Self::Unframed => "unframed",
            Self::TooLarge => "too-large",
        }
    }
}

/// What the judgement depends on beside the response itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Circumstances {
    /// Whether the request carried cookies.
    pub(crate) cookies: bool,
    /// Wall time, for an `Expires` without `Date`; seconds since 1970.
    pub(crate) now_s: u64,
    /// The most tags an entry may carry.
    pub(crate) max_tags: usize,
}

/// Judges a response to a `GET` without `Authorization` by its head.
pub(crate) fn judge(
    status: StatusCode,
    headers: &HeaderMap,
    circumstances: Circumstances,
) -> Result<Storable, Reason> {
    if !matches!(status.as_u16(), 200 | 301 | 308 | 404 | 410) {
        return Err(Reason::Status);
    }
    if headers.contains_key(SET_COOKIE) {
        return Err(Reason::SetCookie);
    }
    if !varies_by_encoding_only(headers) {
        return Err(Reason::Vary);
    }
    let targeted = Directives::targeted(&headers.get_all(CDN_CACHE_CONTROL));
    let directives = targeted
        .or_else(|| Directives::cache_control(&headers.get_all(CACHE_CONTROL)))
        .unwrap_or_default();
    if directives.no_store {
        return Err(Reason::NoStore);
    }
    if directives.private {
        return Err(Reason::Private);
    }
    if directives.no_cache {
        return Err(Reason::NoCache);
    }
    let age = age(headers);
    let lifetime = lifetime(&directives, targeted.is_some(), headers, circumstances.now_s);
    let lifetime = lifetime.unwrap_or(0).saturating_sub(u64::from(age));
    if lifetime == 0 {
        return Err(Reason::NotFresh);
    }
    let shared =
        targeted.is_some() || directives.public || matches!(directives.s_maxage, Seconds::Given(_));
    if circumstances.cookies && !shared {
        return Err(Reason::Cookie);
    }
    Ok(Storable {
        lifetime: Duration::from_secs(lifetime),
        age,
        shared,
        revalidate: directives.revalidate,
        tags: tags(headers, circumstances.max_tags)?,
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
    if targeted { None } else { expires(headers, now_s) }
}

/// RFC 9111 §5.3: an `Expires` that can't be read has passed.
pub(crate) fn expires(headers: &HeaderMap, now_s: u64) -> Option<u64> {
    let mut fields = headers.get_all(EXPIRES).iter();
    let expires = http_date(fields.next()?.to_str().ok()?)?;
    if fields.next().is_some() {
        return None;
    }
    let date = headers.get(DATE).and_then(|date| http_date(date.to_str().ok()?));
    Some(expires.saturating_sub(date.unwrap_or(now_s)))
}

/// An HTTP date as seconds since 1970.
pub(crate) fn http_date(text: &str) -> Option<u64> {
    let time = httpdate::parse_http_date(text).ok()?;
    time.duration_since(std::time::UNIX_EPOCH).ok().map(|since| since.as_secs())
}

/// An `Age` that can't be read proves that we do not know: counts as very old.
pub(crate) fn age(headers: &HeaderMap) -> u32 {
    let Some(age) = headers.get(AGE) else { return 0 };
    let seconds = age.to_str().ok().and_then(delta_seconds);
    seconds.and_then(|seconds| u32::try_from(seconds).ok()).unwrap_or(u32::MAX)
}

fn varies_by_encoding_only(headers: &HeaderMap) -> bool {
    headers.get_all(VARY).iter().all(|field| {
        field.to_str().is_ok_and(|field| {
            field
                .split(',')
                .map(str::trim)
                .all(|name| name.is_empty() || name.eq_ignore_ascii_case("accept-encoding"))
        })
    })
}

pub(crate) fn tags(headers: &HeaderMap, max: usize) -> Result<Vec<Tag>, Reason> {
    let mut tags = Vec::new();
    for field in headers.get_all(SURROGATE_KEY) {
        let field = field.to_str().map_err(|_| Reason::Tags)?;
        for tag in field.split_ascii_whitespace() {
            let tag = Tag::parse(tag).map_err(|_| Reason::Tags)?;
            if !tags.contains(&tag) {
                tags.push(tag);
            }
            if tags.len() > max {
                return Err(Reason::Tags);
            }
        }
    }
    Ok(tags)
}

#[cfg(test)]
#[path = "storable_tests.rs"]
mod tests;
