//! The key of a page.
//!
//! Two requests share a page when `GET`, scheme, host, path and query, the class of accepted
//! encodings, and the headers that the route names are the same. Any other input that could change the response
//! is either removed from the request or forbids storing.

use contract::{Key, Tag};
use http::{HeaderMap, HeaderName};
use sha2::{Digest, Sha256};

use crate::http::encodings::Encodings;
use crate::http::path::normalize_target;
use crate::http::target::{Scheme, normalize_host};

/// The key of a page. `host` and `target` must be in their normal form.
///
/// Hashed, because a query may hold any bytes. The key has 128 bits of SHA-256, so a client cannot
/// construct a URL whose key collides with another page's.
pub(crate) fn page_key(scheme: Scheme, host: &str, target: &str, encodings: Encodings) -> Key {
    keyed_page_key(scheme, host, target, encodings, b"")
}

/// As [`page_key`], of a page that the headers of the request select. `variant`: see [`variant`].
pub(crate) fn keyed_page_key(
    scheme: Scheme,
    host: &str,
    target: &str,
    encodings: Encodings,
    variant: &[u8],
) -> Key {
    let mut hash = Sha256::new();
    // Neither a host nor a target can hold a line feed, so no two requests join to the same text.
    hash.update([scheme as u8, encodings.bits()]);
    hash.update(host.as_bytes());
    hash.update(b"\n");
    hash.update(target.as_bytes());
    hash.update(variant);
    let digest = hash.finalize();
    let half = digest.first_chunk().expect("SHA-256 has 32 bytes");
    Key::of_page(*half)
}

/// The part of a key that is made of the headers `names` of a request.
pub(crate) fn variant(request: &HeaderMap, names: &[HeaderName]) -> Vec<u8> {
    let mut variant = Vec::new();
    for name in names {
        variant.push(b'\n');
        variant.extend(name.as_str().as_bytes());
        for value in request.get_all(name) {
            // A value can't hold a line feed.
            variant.extend(b"\n:");
            variant.extend(value.as_bytes());
        }
    }
    variant
}

/// The tag of all variants of a page that headers select.
pub(crate) fn variants_tag(scheme: Scheme, host: &str, target: &str) -> Tag {
    let key = page_key(scheme, host, target, Encodings::default());
    Tag::parse(key.as_str()).expect("a key is visible ASCII")
}

/// The keys under which a page may be stored: one per class of encodings. `target` is path and
/// query. Empty if `host` or `target` is malformed.
pub(crate) fn page_keys(scheme: Scheme, host: &str, target: &str) -> Vec<Key> {
    let Some(host) = normalize_host(host, scheme) else { return Vec::new() };
    let Ok(target) = normalize_target(target) else { return Vec::new() };
    Encodings::all().map(|class| page_key(scheme, &host, &target, class)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(host: &str, target: &str) -> Key {
        page_key(Scheme::Http, host, target, Encodings::default())
    }

    #[test]
    fn variants_have_distinct_keys() {
        let names = [HeaderName::from_static("a"), HeaderName::from_static("b")];
        let key = |fields: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(*name, http::HeaderValue::from_static(value));
            }
            let variant = variant(&headers, &names);
            keyed_page_key(Scheme::Http, "shop", "/", Encodings::default(), &variant)
        };
        let mut keys = vec![
            key(&[]),
            key(&[("a", "")]),
            key(&[("b", "")]),
            key(&[("a", "1")]),
            key(&[("a", "2")]),
            key(&[("b", "1")]),
            key(&[("a", "1"), ("a", "2")]),
            key(&[("a", "1"), ("b", "2")]),
            key(&[("a", "1, 2")]),
        ];
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 9);
        assert_eq!(key(&[("a", "1"), ("c", "2")]), key(&[("a", "1")]));
    }

    #[test]
    fn distinct_requests_have_distinct_keys() {
        let gzip = Encodings::all().nth(1).expect("eight classes");
        let mut keys = vec![
            key("a", "/"),
            key("b", "/"),
            key("a", "/b"),
            key("a", "/?x=1&y=2"),
            key("a", "/?y=2&x=1"),
            page_key(Scheme::Https, "a", "/", Encodings::default()),
            page_key(Scheme::Http, "a", "/", gzip),
        ];
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 7);
        assert_eq!(key("a", "/").prefix(), "v1:edge:page");
        assert_eq!(Key::parse(key("a", "/").as_str()), Ok(key("a", "/")), "the key parses");
    }
}
