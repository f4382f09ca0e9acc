//! The text of a value.

use std::borrow::Cow;

use rusqlite::types::ValueRef;

/// Returns a value's text: the one form that it has in keys and tags, whether it was loaded or comes from the
/// change log. `None`: null. Equal values of one type have equal texts.
#[must_use]
pub fn canonical_text(value: ValueRef<'_>) -> Option<Cow<'_, str>> {
    Some(match value {
        ValueRef::Null => return None,
        ValueRef::Integer(number) => Cow::Owned(number.to_string()),
        ValueRef::Real(number) => Cow::Owned(real(number)),
        // SQLite does not check that text is UTF-8.
        ValueRef::Text(text) => String::from_utf8_lossy(text),
        ValueRef::Blob(bytes) => Cow::Owned(hexadecimal(bytes)),
    })
}

/// The shortest text that reads as the same number, independent of the SQLite that runs the query: `1.0`,
/// `1e21`.
fn real(number: f64) -> String {
    // SQLite stores both zeros alike.
    format!("{:?}", if number == 0.0 { 0.0 } else { number })
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold("0x".to_owned(), |text, byte| text + &format!("{byte:02X}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_has_one_text() {
        for (value, text) in [
            (ValueRef::Null, None),
            (ValueRef::Integer(i64::MIN), Some("-9223372036854775808")),
            (ValueRef::Real(1.0), Some("1.0")),
            (ValueRef::Real(-0.0), Some("0.0")),
            (ValueRef::Real(1e21), Some("1e21")),
            (ValueRef::Real(123_456_789_012_345_678.0), Some("1.2345678901234568e17")),
            (ValueRef::Text(b"a\0b"), Some("a\0b")),
            (ValueRef::Text(b"\xff"), Some("\u{fffd}")),
            (ValueRef::Blob(b"\x00\xff"), Some("0x00FF")),
        ] {
            assert_eq!(canonical_text(value).as_deref(), text, "{value:?}");
        }
    }
}
