//! A name for each request, the same at the client, in our logs and at the upstream.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const MAX_BYTES: usize = 128;

/// Makes the ids of one process: 16 hex digits, different within the process and, but for chance,
/// between processes. They name, they do not protect: do not use them as secrets.
#[derive(Debug)]
pub(crate) struct RequestIds {
    next: AtomicU64,
}

impl RequestIds {
    pub(crate) fn new() -> Self {
        Self { next: AtomicU64::new(RandomState::new().hash_one("request ids")) }
    }

    /// The client's own id if it is well formed (1 to 128 letters, digits, `-`, `_`, `.`), or a new
    /// one. An ill-formed one is replaced: it goes into logs and headers.
    pub(crate) fn of(&self, headers: &HeaderMap) -> HeaderValue {
        match headers.get(X_REQUEST_ID) {
            Some(given) if is_well_formed(given.as_bytes()) => given.clone(),
            _ => self.make(),
        }
    }

    pub(crate) fn make(&self) -> HeaderValue {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut mixed = mix(self.next.fetch_add(1, Ordering::Relaxed));
        let mut text = [0; 16];
        for digit in &mut text {
            *digit = HEX[(mixed & 15) as usize];
            mixed >>= 4;
        }
        HeaderValue::from_maybe_shared(Bytes::copy_from_slice(&text))
            .expect("hex digits are a header value")
    }
}

fn is_well_formed(id: &[u8]) -> bool {
    (1..=MAX_BYTES).contains(&id.len())
        && id.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014): one to one, so no two counts meet.
fn mix(count: u64) -> u64 {
    let mut z = count.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(given: &str) -> HeaderValue {
        let mut headers = HeaderMap::new();
        headers.insert(X_REQUEST_ID, HeaderValue::from_str(given).expect("a value"));
        RequestIds::new().of(&headers)
    }

    #[test]
    fn a_well_formed_id_is_kept_and_any_other_replaced() {
        assert_eq!(answer("4f-Root_1.a"), "4f-Root_1.a");
        for foreign in ["", "a b", "a=b", "<script>", &"a".repeat(129)] {
            let made = answer(foreign);
            assert_ne!(made, foreign);
            assert_eq!(made.len(), 16);
        }
    }

    #[test]
    fn made_ids_differ() {
        let ids = RequestIds::new();
        let made: std::collections::HashSet<_> =
            (0..1000).map(|_| ids.make().as_bytes().to_vec()).collect();
        assert_eq!(made.len(), 1000);
    }
}
