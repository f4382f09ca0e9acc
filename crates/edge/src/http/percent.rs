//! Percent-encoding (RFC 3986 §2.1).

/// The byte that two hexadecimal digits encode. `text` starts after the `%`. `None`: `text` does
/// not start with two hexadecimal digits.
pub(crate) fn escaped_byte(text: &[u8]) -> Option<u8> {
    let digit = |at: usize| char::from(*text.get(at)?).to_digit(16);
    u8::try_from(digit(0)? << 4 | digit(1)?).ok()
}

/// Whether a byte means the same escaped and unescaped (RFC 3986 §2.3).
pub(crate) fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Decodes all escapes. `None`: an escape is malformed, or the result is not UTF-8.
pub(crate) fn decode(text: &str) -> Option<String> {
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

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn escapes_decoded_malformed_rejected() {
        assert_eq!(decode("a%20b%C3%A4").as_deref(), Some("a bä"));
        for malformed in ["%", "%4", "%zz", "%ff"] {
            assert_eq!(decode(malformed), None, "{malformed}");
        }
    }
}
