//! The character sets and lengths of the parts of a key.

/// Returns whether `text` is `v1` … `v4294967295`, without leading zeros.
pub(crate) fn is_version(text: &str) -> bool {
    let Some(digits) = text.strip_prefix('v') else { return false };
    digits.bytes().all(|b| b.is_ascii_digit())
        && !digits.starts_with('0')
        && digits.parse::<u32>().is_ok()
}

/// Returns whether `text` is a service name: `[a-z][a-z0-9-]*`, at most 64 bytes.
pub(crate) fn is_service(text: &str) -> bool {
    is_name(text, |byte| byte == b'-')
}

/// Returns whether `text` is an entity name: `[a-z][a-z0-9_-]*`, at most 64 bytes.
pub(crate) fn is_entity(text: &str) -> bool {
    is_name(text, |byte| matches!(byte, b'-' | b'_'))
}

fn is_name(text: &str, is_extra: fn(u8) -> bool) -> bool {
    text.len() <= 64
        && text.as_bytes().first().is_some_and(u8::is_ascii_lowercase)
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || is_extra(b))
}

/// Returns whether `text` is an id or variant in a key: not empty, visible ASCII without
/// braces. The caller has split the key at `:`.
pub(crate) fn is_key_part(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'{' | b'}'))
}

/// Returns whether `text` is a UUID as PostgreSQL writes it: `8-4-4-4-12` lower-case hex digits.
pub(crate) fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_digit() || matches!(byte, b'a'..=b'f'),
        })
}
