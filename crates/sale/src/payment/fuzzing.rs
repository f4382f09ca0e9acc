//! The entry point of fuzz tests: the signature of a webhook.

use super::signature;

/// Checks the signature in the first line, for the body after it.
///
/// # Panics
/// Where bytes without the secret are accepted.
pub fn webhook(bytes: &[u8]) {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (header, body) = bytes.split_at(end);
    let header = std::str::from_utf8(header).ok();
    let checked = signature::check("a secret that no input has", header, body, 1_800_000_000);
    assert!(checked.is_err(), "accepted without the secret");
}
