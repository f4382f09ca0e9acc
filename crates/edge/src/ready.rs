//! What a thread has answered lately, ready to be answered again.
//!
//! On a busy day most hits are of few pages, and then what is read and written per answer is what
//! counts. Everything here is a thread's own, so that nobody waits and no counter is shared, small,
//! and compared by content before it is used.

use std::cell::RefCell;

use bytes::Bytes;
use cache::{Proof, Tier};
use contract::Key;
use http::header::{AGE, HeaderMap, HeaderValue};

use crate::head::{self, Facts};
use crate::key::{Encodings, Scheme, page_key};
use crate::proof::{self, CACHE_STATUS, Face, TIDEGATE_FRESHNESS};
use crate::request_id::X_REQUEST_ID;

/// Heads kept per thread.
const HEADS: usize = 64;

/// Longer ones are read each time.
const MAX_HEAD_BYTES: usize = 2_048;

/// Names kept per thread, and the longest of them.
const NAMES: usize = 128;
const MAX_NAME_BYTES: usize = 256;

/// A page's name and the key made from it.
struct Named {
    scheme: Scheme,
    encodings: Encodings,
    host: Box<str>,
    target: Box<str>,
    key: Key,
}

/// A stored head as it was read, and the fields that every answer adds.
struct Ready {
    head: Bytes,
    facts: Facts,
    headers: HeaderMap,
}

thread_local! {
    static READ: RefCell<[Option<Ready>; HEADS]> = const { RefCell::new([const { None }; HEADS]) };
    static KEYS: RefCell<[Option<Named>; NAMES]> = const { RefCell::new([const { None }; NAMES]) };
    static FRESHNESS: RefCell<Option<Shown>> = const { RefCell::new(None) };
}

/// [`page_key`], without hashing what was asked for a moment ago.
pub(crate) fn key(scheme: Scheme, host: &str, target: &str, encodings: Encodings) -> Key {
    if host.len() + target.len() > MAX_NAME_BYTES {
        return page_key(scheme, host, target, encodings);
    }
    // Names that share a place only take turns in it.
    let mixed = target.bytes().fold(host.len(), |mixed, byte| {
        (mixed.rotate_left(5) ^ usize::from(byte)).wrapping_mul(0x9e37_79b9)
    });
    KEYS.with_borrow_mut(|slots| {
        let slot = &mut slots[mixed >> 16 & (NAMES - 1)];
        let same = |named: &&Named| {
            named.scheme == scheme
                && named.encodings == encodings
                && *named.target == *target
                && *named.host == *host
        };
        if let Some(named) = slot.as_ref().filter(same) {
            return named.key.clone();
        }
        let key = page_key(scheme, host, target, encodings);
        let (host, target) = (host.into(), target.into());
        *slot = Some(Named { scheme, encodings, host, target, key: key.clone() });
        key
    })
}

/// A stored head with the fields that [`complete`] fills in; `Cache-Status` is a plain hit's.
pub(crate) fn read(head: &Bytes) -> Option<(Facts, HeaderMap)> {
    if head.len() > MAX_HEAD_BYTES {
        return with_room(head);
    }
    // Where it lies only says where to look: memory is used again for other pages.
    let slot = (head.as_ptr() as usize >> 4).wrapping_mul(0x9e37_79b9) >> 7 & (HEADS - 1);
    READ.with_borrow_mut(|slots| {
        let slot = &mut slots[slot];
        if let Some(Ready { facts, headers, .. }) = slot.as_ref().filter(|r| r.head == *head) {
            return Some((*facts, headers.clone()));
        }
        // A copy: the head may be a slice of the page, whose memory is not ours to hold.
        let head = Bytes::copy_from_slice(head);
        let (facts, headers) = with_room(&head)?;
        *slot = Some(Ready { head, facts, headers: headers.clone() });
        Some((facts, headers))
    })
}

fn with_room(head: &Bytes) -> Option<(Facts, HeaderMap)> {
    const LATER: HeaderValue = HeaderValue::from_static("");
    let (facts, mut headers) = head::read(head, 5)?;
    headers.insert(AGE, LATER);
    headers.append(CACHE_STATUS, HeaderValue::from_static(proof::HIT));
    headers.insert(TIDEGATE_FRESHNESS, LATER);
    headers.insert(X_REQUEST_ID, LATER);
    Some((facts, headers))
}

/// Fills in what a head that was [read](read) left open, in one walk rather than three searches.
pub(crate) fn complete(
    headers: &mut HeaderMap,
    age: HeaderValue,
    freshness: HeaderValue,
    request_id: HeaderValue,
) {
    let mut open = [(AGE, age), (TIDEGATE_FRESHNESS, freshness), (X_REQUEST_ID, request_id)];
    for (name, value) in headers {
        for (field, filled) in &mut open {
            if name == field {
                std::mem::swap(value, filled);
            }
        }
    }
}

/// `Age`.
pub(crate) fn age(seconds: u64) -> HeaderValue {
    const SMALL: [&str; 20] = [
        "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16",
        "17", "18", "19",
    ];
    let small = usize::try_from(seconds).ok().and_then(|seconds| SMALL.get(seconds));
    small.map_or_else(|| seconds.into(), |text| HeaderValue::from_static(text))
}

/// The last freshness that was written.
struct Shown {
    name: Box<str>,
    tier: Tier,
    bound_ms: u128,
    text: HeaderValue,
}

/// [`proof::freshness`] of a plain hit.
pub(crate) fn freshness(proof: &Proof, name: &str) -> HeaderValue {
    let Some(bound) = proof.bound else { return proof::freshness(proof, name, Face::Gateway) };
    let bound_ms = proof::millis_up(bound);
    FRESHNESS.with_borrow_mut(|last| {
        let same = |shown: &&mut Shown| {
            shown.bound_ms == bound_ms && shown.tier == proof.tier && *shown.name == *name
        };
        if let Some(shown) = last.as_mut().filter(same) {
            return shown.text.clone();
        }
        let text = proof::freshness(proof, name, Face::Gateway);
        let (name, tier) = (name.into(), proof.tier);
        *last = Some(Shown { name, tier, bound_ms, text: text.clone() });
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
        let facts = Facts {
            status: StatusCode::OK,
            shared: true,
            revalidate: false,
            age_s: 0,
            lifetime_s: 60,
        };
        head::write(facts, &headers).expect("fits")
    }

    #[test]
    fn memory_that_is_used_again_is_another_page() {
        let mut memory = vec![0; 256];
        for etag in ["\"a\"", "\"b\"", "\"a\""] {
            let head = stored(etag);
            memory[..head.len()].copy_from_slice(&head);
            for _ in 0..2 {
                // In the same place each time.
                let there = Bytes::from(std::mem::take(&mut memory));
                let (_, headers) = read(&there.slice(..head.len())).expect("a head");
                assert_eq!(headers[ETAG], etag);
                assert_eq!(headers[CACHE_STATUS], "tidegate; hit");
                memory = there.try_into_mut().expect("nobody else has it").into();
            }
        }
        assert_eq!(read(&Bytes::from_static(b"rubbish")).map(|_| ()), None);
    }

    #[test]
    fn the_last_freshness_is_not_shown_for_another() {
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
            for _ in 0..2 {
                let expected = proof::freshness(&proof, name, Face::Gateway);
                assert_eq!(freshness(&proof, name), expected);
            }
        }
    }

    #[test]
    fn each_name_has_its_own_key() {
        let names: Vec<(&str, String)> = (0..1_000)
            .map(|n| (if n % 2 == 0 { "a" } else { "b" }, format!("/p/{}", n / 2)))
            .chain([("a", "/".repeat(MAX_NAME_BYTES))])
            .collect();
        for _ in 0..2 {
            for (host, target) in &names {
                for scheme in [Scheme::Http, Scheme::Https] {
                    for encodings in Encodings::all() {
                        let expected = page_key(scheme, host, target, encodings);
                        assert_eq!(key(scheme, host, target, encodings), expected);
                        assert_eq!(key(scheme, host, target, encodings), expected, "again");
                    }
                }
            }
        }
    }

    #[test]
    fn ages_are_numbers() {
        for seconds in [0, 1, 19, 20, 21, u64::MAX] {
            assert_eq!(age(seconds), HeaderValue::from(seconds));
        }
    }
}
