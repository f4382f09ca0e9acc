//! The key of a page.
//!
//! Two requests share a page when `GET`, scheme, host, path and query, and the class of accepted
//! encodings are the same. Any other input that could change the response is either removed from
//! the request or forbids storing.

use contract::Key;
use sha2::{Digest, Sha256};

use crate::http::encodings::Encodings;
use crate::http::target::{Scheme, normalize_host, normalize_target};

/// The key of a page. `host` and `target` must be in their normal form.
///
/// Hashed, because a query may hold any bytes. The key has 128 bits of SHA-256, so a client cannot
/// construct a URL whose key collides with another page's.
pub(crate) fn page_key(scheme: Scheme, host: &str, target: &str, encodings: Encodings) -> Key {
    let mut hash = Sha256::new();
    // Neither a host nor a target can hold a line feed, so no two requests join to the same text.
    hash.update([scheme as u8, encodings.bits()]);
    hash.update(host.as_bytes());
    hash.update(b"\n");
    hash.update(target.as_bytes());
    let digest = hash.finalize();
    let half = digest.first_chunk().expect("SHA-256 has 32 bytes");
    Key::of_page(*half)
}

/// The keys under which a page may be stored: one per class of encodings. `target` is path and
/// query. Empty if `host` is malformed.
pub(crate) fn page_keys(scheme: Scheme, host: &str, target: &str) -> Vec<Key> {
    let Some(host) = normalize_host(host, scheme) else { return Vec::new() };
    let target = normalize_target(target);
    Encodings::all().map(|class| page_key(scheme, &host, &target, class)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(host: &str, target: &str) -> Key {
        page_key(Scheme::Http, host, target, Encodings::default())
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
