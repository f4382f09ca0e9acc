//! The normal form of a request's target (RFC 3986 §6.2), and the other ways to read its path.
//!
//! Routes are matched, pages are keyed and requests are forwarded by one form, so that the gateway and the
//! application decide about the same path. An application may still read more into it: `%2F` as a slash,
//! `//` as one slash. [`readings`] lists these, for the routes.

use std::borrow::Cow;
use std::collections::BTreeSet;

use contract::percent::{escaped_byte, is_unreserved};
use thiserror::Error;

/// The most times that an application may decode a path. A limit, because each costs a pass over the path.
const MAX_DECODED: usize = 4;

/// A target that the gateway does not forward: applications disagree about its meaning.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub(crate) enum PathError {
    #[error("the path contains a backslash; write it as %5C")]
    Backslash,
    #[error("the path contains an encoded NUL")]
    Nul,
}

/// The normal form of path and query:
///
/// * `%41` becomes `A` where both mean the same, and hexadecimal digits are in upper case (§6.2.2.1,
///   §6.2.2.2). A stray `%` becomes `%25`, so that it does not form an escape with the text behind it.
/// * Bytes of a path that a URI can't have are escaped.
/// * `.` and `..` are resolved (§6.2.2.3), escaped or not.
///
/// Empty segments and the order of query parameters stay, because applications depend on them.
///
/// # Errors
/// [`PathError`].
pub(crate) fn normalize_target(target: &str) -> Result<Cow<'_, str>, PathError> {
    let (path, query) = target.split_at(path_of(target).len());
    let path = normalize_path(path)?;
    let query = normalize_escapes(query, |_| true);
    Ok(match (path, query) {
        (Cow::Borrowed(_), Cow::Borrowed(_)) => Cow::Borrowed(target),
        (path, query) => Cow::Owned(format!("{path}{query}")),
    })
}

/// The normal form of a path.
///
/// # Errors
/// [`PathError`].
pub(crate) fn normalize_path(path: &str) -> Result<Cow<'_, str>, PathError> {
    let is_normal = |byte: u8| is_uri_byte(byte) && !matches!(byte, b'%' | b'\\');
    if path.bytes().all(is_normal) && !path.contains("/.") {
        return Ok(Cow::Borrowed(path));
    }
    if path.contains('\\') {
        return Err(PathError::Backslash);
    }
    let escaped = normalize_escapes(path, is_uri_byte);
    if escaped.contains("%00") {
        return Err(PathError::Nul);
    }
    let normal = if escaped.contains("/.") { Cow::Owned(resolve_dots(&escaped)) } else { escaped };
    Ok(if normal == path { Cow::Borrowed(path) } else { Cow::Owned(normal.into_owned()) })
}

/// The path of a target, without its query.
pub(crate) fn path_of(target: &str) -> &str {
    let end = target.bytes().position(|byte| byte == b'?').unwrap_or(target.len());
    &target[..end]
}

/// The text with the escapes of all characters of ASCII decoded once.
pub(crate) fn decoded(path: &str) -> Cow<'_, str> {
    if !path.contains('%') {
        return Cow::Borrowed(path);
    }
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match escaped_byte(rest).filter(|_| byte == b'%') {
            Some(escaped) if escaped.is_ascii() => {
                bytes.push(escaped);
                rest = &rest[2..];
            }
            _ => bytes.push(byte),
        }
    }
    Cow::Owned(String::from_utf8(bytes).expect("characters of ASCII replace characters of ASCII"))
}

/// The ways in which an application may read a path in its normal form: with escapes decoded once, or
/// several times; with `\` for `/`; without parameters (`;…`) of segments; with `//` for `/`. Each is resolved
/// again. Empty for most paths, which everyone reads in one way.
pub(crate) fn readings(path: &str) -> BTreeSet<String> {
    if !has_readings(path) {
        return BTreeSet::new();
    }
    let once = decoded(path);
    let fully = (1..MAX_DECODED).fold(once.clone(), |text, _| decoded(&text).into_owned().into());
    let mut readings = BTreeSet::new();
    for text in [path, &once, &fully] {
        for options in 0..8_u8 {
            let mut reading = text.to_owned();
            if options & 1 != 0 {
                reading = reading.replace('\\', "/");
            }
            if options & 2 != 0 {
                let name = |segment: &str| segment.split(';').next().unwrap_or_default().to_owned();
                reading = reading.split('/').map(name).collect::<Vec<_>>().join("/");
            }
            if options & 4 != 0 {
                while reading.contains("//") {
                    reading = reading.replace("//", "/");
                }
            }
            readings.insert(resolve_dots(&reading));
        }
    }
    readings
}

fn has_readings(path: &str) -> bool {
    let bytes = path.as_bytes();
    bytes.windows(2).any(|pair| match pair {
        b"//" => true,
        [b';', _] | [_, b';'] => true,
        // The escape of a character of ASCII.
        [b'%', digit] => (b'2'..=b'7').contains(digit),
        _ => false,
    })
}

/// Resolves the segments `.` and `..` (RFC 3986 §5.2.4).
fn resolve_dots(path: &str) -> String {
    let Some(rest) = path.strip_prefix('/') else { return path.to_owned() };
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = rest.split('/').peekable();
    while let Some(segment) = segments.next() {
        let is_dots = matches!(segment, "." | "..");
        if segment == ".." {
            kept.pop();
        }
        if !is_dots {
            kept.push(segment);
        } else if segments.peek().is_none() {
            kept.push("");
        }
    }
    format!("/{}", kept.join("/"))
}

/// Whether a path may contain a byte (RFC 3986 §3.3), or the gateway lets it pass unescaped, as clients send it.
fn is_uri_byte(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7e)
}

/// Decodes the escapes of unreserved characters, writes the others in upper case, and escapes the bytes that
/// `is_literal` refuses.
fn normalize_escapes(text: &str, is_literal: impl Fn(u8) -> bool) -> Cow<'_, str> {
    if text.bytes().all(|byte| byte != b'%' && is_literal(byte)) {
        return Cow::Borrowed(text);
    }
    let mut normal = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(character) = text[at..].chars().next() {
        let escaped = escaped_byte(&text.as_bytes()[at + character.len_utf8()..]);
        match escaped.filter(|_| character == '%') {
            Some(byte) if is_unreserved(byte) => normal.push(char::from(byte)),
            None if character == '%' => normal.push_str("%25"),
            Some(_) => {
                normal.push('%');
                normal.extend(text[at + 1..at + 3].chars().map(|digit| digit.to_ascii_uppercase()));
            }
            None if character.is_ascii() && is_literal(character as u8) => normal.push(character),
            None if character.is_ascii() || !is_literal(0x80) => {
                let mut bytes = [0; 4];
                for byte in character.encode_utf8(&mut bytes).bytes() {
                    normal.push_str(&format!("%{byte:02X}"));
                }
            }
            None => normal.push(character),
        }
        let is_escape = escaped.is_some() && character == '%';
        at += if is_escape { 3 } else { character.len_utf8() };
    }
    if normal == text { Cow::Borrowed(text) } else { Cow::Owned(normal) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normal(target: &str) -> Cow<'_, str> {
        normalize_target(target).expect("a normal form")
    }

    #[test]
    fn escapes_normalized() {
        assert_eq!(normal("/p/%34%32?q=%7e%c3%bc%2F"), "/p/42?q=~%C3%BC%2F");
        assert_eq!(normal("/%61ccount"), "/account");
        assert_eq!(normal("/ü"), "/%C3%BC");
        for same in ["/", "/p?x=%2F", "/a%20b", "/p/SKU-1;v=2", "/?q=/../ü", "*"] {
            assert!(matches!(normal(same), Cow::Borrowed(_)), "{same}");
        }
        assert_eq!(normal("/100%?q=5%"), "/100%25?q=5%25");
        assert_eq!(normal("/%%341"), "/%2541", "no escape arises from two");
        assert_eq!(normal("/%é%4%zz"), "/%25%C3%A9%254%25zz");
    }

    #[test]
    fn dot_segments_resolved() {
        for (target, expected) in [
            ("/./account", "/account"),
            ("/static/../account", "/account"),
            ("/static/%2e%2E/account?a=/../b", "/account?a=/../b"),
            ("/../../account", "/account"),
            ("/a/b/..", "/a/"),
            ("/a/.", "/a/"),
            ("/..", "/"),
            ("/a//../b", "/a/b"),
            ("//account", "//account"),
            ("//test/?query", "//test/?query"),
            ("/resize/https://host/a.jpg", "/resize/https://host/a.jpg"),
            ("/.well-known/x", "/.well-known/x"),
            ("/a/...", "/a/..."),
        ] {
            assert_eq!(normal(target), expected, "{target}");
        }
    }

    #[test]
    fn ambiguous_characters_rejected() {
        assert_eq!(normalize_target("/static\\..\\account"), Err(PathError::Backslash));
        assert_eq!(normalize_target("/account%00.css"), Err(PathError::Nul));
        assert_eq!(
            normal("/search?q=a\\b%00"),
            "/search?q=a\\b%00",
            "a query is the application's"
        );
    }

    #[test]
    fn other_readings_listed() {
        for (path, reading) in [
            ("//account", "/account"),
            ("/static/..%2Faccount", "/account"),
            ("/static/..%5Caccount", "/account"),
            ("/static/..%252Faccount", "/account"),
            ("/static/..;/account", "/account"),
            ("/static/..;v=1%2Faccount", "/account"),
            ("/static/%2e%2e%2f/account", "/account"),
            ("/c%2B%2B/", "/c++/"),
            ("/account%2F..%252F..%2Fstatic", "/account/..%2F../static"),
        ] {
            let normal = normalize_path(path).expect("a normal form");
            let readings = readings(&normal);
            let found = readings.iter().any(|found| found.starts_with(reading));
            assert!(found, "{path}: {readings:?}");
        }
        for plain in ["/", "/p/42", "/%C3%BC/SKU-1", "/a.b/~c"] {
            assert!(readings(plain).is_empty(), "{plain}");
        }
    }

    #[test]
    fn normal_form_is_stable() {
        let parts = ["/", "..", ".", "%2e", "%2F", "a", "%", "//", ";", "é", "%41", "?", "%5c"];
        let mut state = 1_u64;
        for _ in 0..20_000 {
            let mut target = "/".to_owned();
            for _ in 0..6 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                target.push_str(parts[(state >> 33) as usize % parts.len()]);
            }
            let once = normal(&target).into_owned();
            assert_eq!(normal(&once), once, "{target}");
            let _ = readings(path_of(&once));
        }
    }
}
