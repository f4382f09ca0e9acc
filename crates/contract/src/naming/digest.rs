//! Digests that are the same in every build, which the standard hashers do not promise.

use std::fmt::Write;

use sha2::{Digest, Sha256};

/// Returns the 64-bit FNV-1a digest of `bytes`.
///
/// It distinguishes a small number of names and is the same on every node. It is not collision-resistant:
/// never use it where an attacker chooses the input. Source: the FNV specification, parameters for
/// 64 bits (offset basis `cbf29ce484222325`, prime `100000001b3`).
pub fn fnv1a(bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, |digest, byte| {
        (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Returns `h-` and the first 128 bits of the value's SHA-256 in hex, 34 bytes.
pub(crate) fn hash_text(value: &str) -> String {
    let digest = Sha256::digest(value.as_bytes());
    let mut text = String::with_capacity(34);
    text.push_str("h-");
    for byte in &digest[..16] {
        // Writing to a String can't fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the test suite of the FNV specification.
    #[test]
    fn fnv1a_matches_test_vectors() {
        for (text, digest) in [
            ("", 0xcbf2_9ce4_8422_2325),
            ("a", 0xaf63_dc4c_8601_ec8c),
            ("foobar", 0x8594_4171_f739_67e8),
        ] {
            assert_eq!(fnv1a(text.bytes()), digest, "{text}");
        }
    }
}
