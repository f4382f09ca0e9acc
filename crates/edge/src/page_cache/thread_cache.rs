//! Small per-thread caches of the work that a hit repeats: hashing keys, decoding stored heads,
//! formatting freshness.
//!
//! Under load most hits are for few pages, and the cost of a hit is this work. The caches are
//! thread-local, so that there is no lock and no shared counter. Content is compared before a cached
//! result is used.

use std::cell::RefCell;

use bytes::Bytes;
use cache::{Proof, Tier};
use contract::{Evidence, Key};
use http::header::{AGE, HeaderMap, HeaderValue};

use super::key;
use super::stored_head::{self, StoredMetadata};
use crate::http::encodings::Encodings;
use crate::http::freshness::{self, CACHE_STATUS, ServedBy, TIDEGATE_FRESHNESS};
use crate::http::request_id::X_REQUEST_ID;
use crate::http::target::Scheme;

/// Decoded heads kept per thread.
const HEADS: usize = 64;

/// Longer heads are decoded each time.
const MAX_HEAD_BYTES: usize = 2_048;

/// Keys kept per thread.
const KEYS: usize = 128;

/// The longest host and target, together, whose key is kept.
const MAX_TARGET_BYTES: usize = 256;

/// The key of a page, with its input.
struct CachedKey {
    scheme: Scheme,
    encodings: Encodings,
    host: Box<str>,
    target: Box<str>,
    key: Key,
}

/// A decoded head, with the headers that every response adds.
struct DecodedHead {
    head: Bytes,
    metadata: StoredMetadata,
    headers: HeaderMap,
}

type Slots<T, const N: usize> = RefCell<[Option<T>; N]>;

thread_local! {
    static DECODED: Slots<DecodedHead, HEADS> = const { RefCell::new([const { None }; HEADS]) };
    static PAGE_KEYS: Slots<CachedKey, KEYS> = const { RefCell::new([const { None }; KEYS]) };
    static FRESHNESS: RefCell<Option<FormattedFreshness>> = const { RefCell::new(None) };
}

/// [`key::page_key`], without hashing for a recently requested page.
pub(crate) fn page_key(scheme: Scheme, host: &str, target: &str, encodings: Encodings) -> Key {
    if host.len() + target.len() > MAX_TARGET_BYTES {
        return key::page_key(scheme, host, target, encodings);
    }
    // Pages whose slots collide replace each other.
    let mixed = target.bytes().fold(host.len(), |mixed, byte| {
        (mixed.rotate_left(5) ^ usize::from(byte)).wrapping_mul(0x9e37_79b9)
    });
    PAGE_KEYS.with_borrow_mut(|slots| {
        let slot = &mut slots[mixed >> 16 & (KEYS - 1)];
        let same = |cached: &&CachedKey| {
            cached.scheme == scheme
                && cached.encodings == encodings
                && *cached.target == *target
                && *cached.host == *host
        };
        if let Some(cached) = slot.as_ref().filter(same) {
            return cached.key.clone();
        }
        let key = key::page_key(scheme, host, target, encodings);
        let (host, target) = (host.into(), target.into());
        *slot = Some(CachedKey { scheme, encodings, host, target, key: key.clone() });
        key
    })
}

/// Decodes a stored head, and adds the fields that [`fill_in`] sets. `Cache-Status` is that of a hit
/// without details.
pub(crate) fn decode(head: &Bytes) -> Option<(StoredMetadata, HeaderMap)> {
    if head.len() > MAX_HEAD_BYTES {
        return decode_with_fields(head);
    }
    // The address selects the slot only: memory is reused for other pages.
    let slot = (head.as_ptr() as usize >> 4).wrapping_mul(0x9e37_79b9) >> 7 & (HEADS - 1);
    DECODED.with_borrow_mut(|slots| {
        let slot = &mut slots[slot];
        if let Some(DecodedHead { metadata, headers, .. }) =
            slot.as_ref().filter(|decoded| decoded.head == *head)
        {
            return Some((*metadata, headers.clone()));
        }
        // A copy: the head may be a slice of the page, whose memory must not be kept alive.
        let head = Bytes::copy_from_slice(head);
        let (metadata, headers) = decode_with_fields(&head)?;
        *slot = Some(DecodedHead { head, metadata, headers: headers.clone() });
        Some((metadata, headers))
    })
}

fn decode_with_fields(head: &Bytes) -> Option<(StoredMetadata, HeaderMap)> {
    const PLACEHOLDER: HeaderValue = HeaderValue::from_static("");
    let (metadata, mut headers) = stored_head::decode(head, 5)?;
    headers.insert(AGE, PLACEHOLDER);
    headers.append(CACHE_STATUS, HeaderValue::from_static(freshness::HIT));
    headers.insert(TIDEGATE_FRESHNESS, PLACEHOLDER);
    headers.insert(X_REQUEST_ID, PLACEHOLDER);
    Some((metadata, headers))
}

/// Sets the placeholders of a [decoded](decode) head, in one pass instead of three lookups.
pub(crate) fn fill_in(
    headers: &mut HeaderMap,
    age: HeaderValue,
    freshness: HeaderValue,
    request_id: HeaderValue,
) {
    let mut fields = [(AGE, age), (TIDEGATE_FRESHNESS, freshness), (X_REQUEST_ID, request_id)];
    for (name, value) in headers {
        for (field, filled) in &mut fields {
            if name == field {
                std::mem::swap(value, filled);
            }
        }
    }
}

/// The value of `Age`.
pub(crate) fn age(seconds: u64) -> HeaderValue {
    const SMALL: [&str; 20] = [
        "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16",
        "17", "18", "19",
    ];
    let small = usize::try_from(seconds).ok().and_then(|seconds| SMALL.get(seconds));
    small.map_or_else(|| seconds.into(), |text| HeaderValue::from_static(text))
}

/// The last formatted `Tidegate-Freshness`, with its input.
struct FormattedFreshness {
    name: Box<str>,
    tier: Tier,
    evidence: Evidence,
    bound_ms: u128,
    text: HeaderValue,
}

/// [`freshness::tidegate_freshness`] of a hit without details.
pub(crate) fn tidegate_freshness(proof: &Proof, name: &str, evidence: Evidence) -> HeaderValue {
    let Some(bound) = proof.bound else {
        return freshness::tidegate_freshness(proof, name, ServedBy::Gateway(evidence));
    };
    let bound_ms = freshness::millis_up(bound);
    FRESHNESS.with_borrow_mut(|last| {
        let same = |last: &&mut FormattedFreshness| {
            last.bound_ms == bound_ms
                && last.tier == proof.tier
                && last.evidence == evidence
                && *last.name == *name
        };
        if let Some(last) = last.as_mut().filter(same) {
            return last.text.clone();
        }
        let text = freshness::tidegate_freshness(proof, name, ServedBy::Gateway(evidence));
        let (name, tier) = (name.into(), proof.tier);
        *last = Some(FormattedFreshness { name, tier, evidence, bound_ms, text: text.clone() });
        text
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use coherence::Lsn;
    use http::StatusCode;
    use http::header::ETAG;

    use super::*;

    fn stored(etag: &'static str) -> Bytes {
        let headers = HeaderMap::from_iter([(ETAG, HeaderValue::from_static(etag))]);
        let metadata = StoredMetadata {
            status: StatusCode::OK,
            shared: true,
            revalidate: false,
            age_s: 0,
            lifetime_s: 60,
            proven_by: None,
            joint: None,
        };
        stored_head::encode(metadata, &headers).expect("fits")
    }

    #[test]
    fn reused_memory_decodes_new_page() {
        let mut memory = vec![0; 256];
        for etag in ["\"a\"", "\"b\"", "\"a\""] {
            let head = stored(etag);
            memory[..head.len()].copy_from_slice(&head);
            for _ in 0..2 {
                // At the same address each time.
                let page = Bytes::from(std::mem::take(&mut memory));
                let (_, headers) = decode(&page.slice(..head.len())).expect("a head");
                assert_eq!(headers[ETAG], etag);
                assert_eq!(headers[CACHE_STATUS], "tidegate; hit");
                memory = page.try_into_mut().expect("no other handle").into();
            }
        }
        assert_eq!(decode(&Bytes::from_static(b"malformed")).map(|_| ()), None);
    }

    #[test]
    fn cached_freshness_matches_its_input() {
        let proof = |bound, tier| Proof {
            tier,
            age: Duration::ZERO,
            bound,
            version: Lsn::ZERO,
            stale: None,
            soft: false,
            collapsed: false,
            stored: None,
        };
        for (bound, tier, name) in [
            (Some(Duration::from_millis(4)), Tier::Local, "page"),
            (Some(Duration::from_micros(4_001)), Tier::Local, "page"),
            (Some(Duration::from_micros(4_001)), Tier::Shared, "page"),
            (Some(Duration::from_micros(4_001)), Tier::Shared, "texts"),
            (None, Tier::Shared, "texts"),
        ] {
            let proof = proof(bound, tier);
            for evidence in [Evidence::Log, Evidence::Log, Evidence::Age] {
                let served_by = ServedBy::Gateway(evidence);
                let expected = freshness::tidegate_freshness(&proof, name, served_by);
                assert_eq!(tidegate_freshness(&proof, name, evidence), expected);
            }
        }
    }

    #[test]
    fn cached_key_matches_its_input() {
        let pages: Vec<(&str, String)> = (0..1_000)
            .map(|n| (if n % 2 == 0 { "a" } else { "b" }, format!("/p/{}", n / 2)))
            .chain([("a", "/".repeat(MAX_TARGET_BYTES))])
            .collect();
        for _ in 0..2 {
            for (host, target) in &pages {
                for scheme in [Scheme::Http, Scheme::Https] {
                    for encodings in Encodings::all() {
                        let expected = key::page_key(scheme, host, target, encodings);
                        assert_eq!(page_key(scheme, host, target, encodings), expected);
                        assert_eq!(page_key(scheme, host, target, encodings), expected, "again");
                    }
                }
            }
        }
    }

    #[test]
    fn age_is_decimal_number() {
        for seconds in [0, 1, 19, 20, 21, u64::MAX] {
            assert_eq!(age(seconds), HeaderValue::from(seconds));
        }
    }
}
