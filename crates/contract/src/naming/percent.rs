//! Percent-encoding (RFC 3986 §2.1).

/// Returns `text` with all bytes but the unreserved ones encoded, for one segment of a path or one value of
/// a query.
#[must_use]
pub fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    encode_into(&mut out, text, is_unreserved);
    out
}

/// Appends `text` to `out`: bytes that `is_literal` accepts as they are, every other byte as `%XX` in
/// upper-case hex. `is_literal` must refuse bytes outside ASCII.
pub(crate) fn encode_into(out: &mut String, text: &str, is_literal: impl Fn(u8) -> bool) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if is_literal(byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

/// Returns the text with all escapes decoded. `None`: an escape is malformed, or the result is not UTF-8.
#[must_use]
pub fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte == b'%' {
            bytes.push(escaped_byte(rest)?);
            rest = &rest[2..];
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

/// Returns the byte that two hexadecimal digits encode. `text` starts after the `%`. `None`: `text` does
/// not start with two hexadecimal digits.
#[must_use]
pub fn escaped_byte(text: &[u8]) -> Option<u8> {
    let digit = |at: usize| char::from(*text.get(at)?).to_digit(16);
    u8::try_from(digit(0)? << 4 | digit(1)?).ok()
}

/// Returns whether a byte means the same escaped and unescaped (RFC 3986 §2.3). Such bytes are also safe in
/// a log line, a Redis key and a shell.
#[must_use]
pub fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_characters_encoded() {
        assert_eq!(encode("a-1_~."), "a-1_~.");
        assert_eq!(encode("a b&c=ä%\n"), "a%20b%26c%3D%C3%A4%25%0A");
    }

    #[test]
    fn escapes_decoded_malformed_rejected() {
        assert_eq!(decode("a%20b%C3%A4").as_deref(), Some("a bä"));
        for malformed in ["%", "%4", "%zz", "%ff"] {
            assert_eq!(decode(malformed), None, "{malformed}");
        }
    }
}
