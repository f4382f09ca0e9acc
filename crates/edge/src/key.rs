//! What makes two requests ask for the same page.
//!
//! `GET`, scheme, host, path and query, and the class of encodings the client accepts. Everything
//! else that could change the answer is either taken off the request or forbids storing.

use std::borrow::Cow;

use contract::Key;
use http::HeaderValue;
use http::header::GetAll;
use sha2::{Digest, Sha256};

/// How the client reached the edge.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Scheme {
    /// Plain HTTP.
    #[default]
    Http,
    /// HTTPS, ended by a proxy in front of us that is trusted to say so.
    Https,
}

impl Scheme {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    fn default_port(self) -> &'static str {
        match self {
            Self::Http => "80",
            Self::Https => "443",
        }
    }
}

/// The content codings that a client takes, as far as pages are told apart by them. The upstream
/// is asked in the name of the class, not of the client, so that the class alone decides.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub(crate) struct Encodings(u8);

impl Encodings {
    const NAMES: [&'static str; 3] = ["gzip", "br", "zstd"];

    /// Every class there is.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (0..1 << Self::NAMES.len()).map(Self)
    }

    pub(crate) fn accepted(fields: &GetAll<'_, HeaderValue>) -> Self {
        let mut class = 0;
        for field in fields {
            let Ok(field) = field.to_str() else { continue };
            for item in field.split(',') {
                let (name, weight) = item.split_once(';').unwrap_or((item, ""));
                let position =
                    Self::NAMES.iter().position(|known| name.trim().eq_ignore_ascii_case(known));
                if let Some(position) = position
                    && !is_zero_weight(weight)
                {
                    class |= 1 << position;
                }
            }
        }
        Self(class)
    }

    /// The class as the upstream is told.
    pub(crate) fn header(self) -> HeaderValue {
        HeaderValue::from_static(match self.0 {
            1 => "gzip",
            2 => "br",
            3 => "br, gzip",
            4 => "zstd",
            5 => "zstd, gzip",
            6 => "zstd, br",
            7 => "zstd, br, gzip",
            _ => "identity",
        })
    }
}

/// `q=0`, `q=0.000` (RFC 9110 §12.4.2).
fn is_zero_weight(parameter: &str) -> bool {
    let value = parameter.trim().strip_prefix(['q', 'Q']).map(str::trim_start);
    value.and_then(|value| value.strip_prefix('=')).is_some_and(|value| {
        !value.is_empty() && value.trim().bytes().all(|b| matches!(b, b'0' | b'.'))
    })
}

/// The key of a page. `host` and `target` are expected in their normal form.
///
/// Hashed, because a query may hold anything: 128 bits of SHA-256, so nobody can write a URL that
/// lands on the page of another.
pub(crate) fn page_key(scheme: Scheme, host: &str, target: &str, encodings: Encodings) -> Key {
    let mut hash = Sha256::new();
    // Neither a host nor a target can hold a line end, so no two requests join to the same text.
    hash.update([scheme as u8, encodings.0]);
    hash.update(host.as_bytes());
    hash.update(b"\n");
    hash.update(target.as_bytes());
    let digest = hash.finalize();
    let half = digest.first_chunk().expect("SHA-256 has 32 bytes");
    Key::of_page(*half)
}

/// The bytes that a host's name may be made of.
const IN_NAME: [bool; 256] = {
    let mut table = [false; 256];
    let mut at = 0;
    while at < 256 {
        let byte = at as u8;
        table[at] = byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'~');
        at += 1;
    }
    table
};

/// The normal form of a host, with its port unless that is the scheme's own. `None`: it is none.
pub(crate) fn normal_host(host: &str, scheme: Scheme) -> Option<Cow<'_, str>> {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => {
            let (address, after) = rest.split_once(']')?;
            let is_address = |b: u8| b.is_ascii_hexdigit() || matches!(b, b':' | b'.');
            if address.is_empty() || !address.bytes().all(is_address) {
                return None;
            }
            let port = match after {
                "" => None,
                _ => Some(after.strip_prefix(':')?),
            };
            (&host[..address.len() + 2], port)
        }
        None => {
            let (name, port) = match host.bytes().position(|byte| byte == b':') {
                Some(at) => (&host[..at], Some(&host[at + 1..])),
                None => (host, None),
            };
            let is_name = name.bytes().fold(true, |all, byte| all & IN_NAME[usize::from(byte)]);
            if name.is_empty() || name.len() > 255 || !is_name {
                return None;
            }
            (name, port)
        }
    };
    let keep = match port {
        None | Some("") => name.len(),
        Some(port) if !port.bytes().all(|b| b.is_ascii_digit()) || port.len() > 5 => return None,
        Some(port) if port == scheme.default_port() => name.len(),
        Some(_) => host.len(),
    };
    let kept = &host[..keep];
    Some(if kept.bytes().any(|b| b.is_ascii_uppercase()) {
        Cow::Owned(kept.to_ascii_lowercase())
    } else {
        Cow::Borrowed(kept)
    })
}

/// The normal form of path and query: `%41` is `A` where both mean the same, hex digits in upper
/// case (RFC 3986 §6.2.2). The order of the query is left alone: to some applications it matters.
pub(crate) fn normal_target(target: &str) -> Cow<'_, str> {
    let first = target.bytes().position(|byte| byte == b'%');
    let Some(first) = first else { return Cow::Borrowed(target) };
    let mut normal = String::with_capacity(target.len());
    normal.push_str(&target[..first]);
    let mut rest = &target[first..];
    while let Some(at) = rest.find('%') {
        normal.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let digit = |at: usize| char::from(*rest.as_bytes().get(at)?).to_digit(16);
        let (Some(high), Some(low)) = (digit(0), digit(1)) else {
            normal.push('%');
            continue;
        };
        let byte = char::from((high << 4 | low) as u8);
        if byte.is_ascii_alphanumeric() || matches!(byte, '-' | '.' | '_' | '~') {
            normal.push(byte);
        } else {
            normal.push('%');
            normal.extend(rest[..2].chars().map(|digit| digit.to_ascii_uppercase()));
        }
        rest = &rest[2..];
    }
    normal.push_str(rest);
    if normal == target { Cow::Borrowed(target) } else { Cow::Owned(normal) }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use http::header::ACCEPT_ENCODING;

    use super::*;

    fn key(host: &str, target: &str) -> Key {
        page_key(Scheme::Http, host, target, Encodings(0))
    }

    #[test]
    fn different_questions_have_different_keys() {
        let mut keys = vec![
            key("a", "/"),
            key("b", "/"),
            key("a", "/b"),
            key("a", "/?x=1&y=2"),
            key("a", "/?y=2&x=1"),
            page_key(Scheme::Https, "a", "/", Encodings(0)),
            page_key(Scheme::Http, "a", "/", Encodings(1)),
        ];
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 7);
        assert_eq!(key("a", "/").prefix(), "v1:edge:page");
        assert_eq!(Key::parse(key("a", "/").as_str()), Ok(key("a", "/")), "it can be read back");
    }

    #[test]
    fn hosts_have_one_form() {
        let host = |text| normal_host(text, Scheme::Http);
        assert_eq!(host("Shop.Example:80").as_deref(), Some("shop.example"));
        assert_eq!(host("shop.example:").as_deref(), Some("shop.example"));
        assert_eq!(host("shop.example:8080").as_deref(), Some("shop.example:8080"));
        assert_eq!(host("[::1]:80").as_deref(), Some("[::1]"));
        assert_eq!(normal_host("a:80", Scheme::Https).as_deref(), Some("a:80"));
        for rubbish in [
            "", ":80", "a b", "a/b", "u@a", "a:b", "a:1:2", "[", "[]", "[::1", "[::1]x", "a:123456",
        ] {
            assert_eq!(host(rubbish), None, "{rubbish}");
        }
    }

    #[test]
    fn targets_have_one_form() {
        assert_eq!(normal_target("/p/%34%32?q=%7e%c3%bc%2F"), "/p/42?q=~%C3%BC%2F");
        for same in ["/", "/p?x=%2F", "/100%", "/%4", "/%zz", "/%", "/%%41x"[..2].into()] {
            assert_eq!(normal_target(same), same);
        }
        assert_eq!(normal_target("/%%41"), "/%A", "an escape after a stray sign");
        assert_eq!(normal_target("/%é%41"), "/%éA");
    }

    #[test]
    fn encodings_fall_into_classes() {
        let class = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_str(text).expect("a value"));
            Encodings::accepted(&headers.get_all(ACCEPT_ENCODING)).header()
        };
        assert_eq!(class("gzip, deflate, br"), "br, gzip");
        assert_eq!(class("BR;q=0.5, gzip ; q=0"), "br");
        assert_eq!(class("identity"), "identity");
        assert_eq!(class("gzip;q=0.001"), "gzip");
        assert_eq!(class("*"), "identity");
    }
}
