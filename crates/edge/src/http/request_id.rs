//! Request IDs: the same at the client, in the logs and at the upstream.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const MAX_BYTES: usize = 128;

/// Generates the IDs of one process: 16 hexadecimal digits, unique within the process and, with high
/// probability, across processes. They are predictable; do not use them as secrets.
#[derive(Debug)]
pub(crate) struct RequestIds {
    next: AtomicU64,
}

impl RequestIds {
    pub(crate) fn new() -> Self {
        Self { next: AtomicU64::new(RandomState::new().hash_one("request ids")) }
    }

    /// Returns the client's own ID if it is well formed (1 to 128 letters, digits, `-`, `_`, `.`), else
    /// a new one. A malformed ID is replaced because it would go into logs and headers.
    pub(crate) fn accept_or_generate(&self, headers: &HeaderMap) -> HeaderValue {
        match headers.get(X_REQUEST_ID) {
            Some(given) if is_well_formed(given.as_bytes()) => given.clone(),
            _ => self.generate(),
        }
    }

    pub(crate) fn generate(&self) -> HeaderValue {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut mixed = mix(self.next.fetch_add(1, Ordering::Relaxed));
        let mut text = [0; 16];
        for digit in &mut text {
            *digit = HEX[(mixed & 15) as usize];
            mixed >>= 4;
        }
        HeaderValue::from_maybe_shared(Bytes::copy_from_slice(&text))
            .expect("hexadecimal digits form a header value")
    }
}

fn is_well_formed(id: &[u8]) -> bool {
    (1..=MAX_BYTES).contains(&id.len())
        && id.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014). It is a bijection, so IDs do not repeat.
fn mix(count: u64) -> u64 {
    let mut z = count.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id_for(given: &str) -> HeaderValue {
        let mut headers = HeaderMap::new();
        headers.insert(X_REQUEST_ID, HeaderValue::from_str(given).expect("a value"));
        RequestIds::new().accept_or_generate(&headers)
    }

    #[test]
    fn malformed_id_replaced() {
        assert_eq!(id_for("4f-Root_1.a"), "4f-Root_1.a");
        for malformed in ["", "a b", "a=b", "<script>", &"a".repeat(129)] {
            let made = id_for(malformed);
            assert_ne!(made, malformed);
            assert_eq!(made.len(), 16);
        }
    }

    #[test]
    fn generated_ids_differ() {
        let ids = RequestIds::new();
        let made: std::collections::HashSet<_> =
            (0..1000).map(|_| ids.generate().as_bytes().to_vec()).collect();
        assert_eq!(made.len(), 1000);
    }
}
