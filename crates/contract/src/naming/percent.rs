//! Percent-encoding (RFC 3986 §2.1).

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
