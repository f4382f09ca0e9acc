//! Scheme and host of a request in their normal form (RFC 3986 §6.2).

use std::borrow::Cow;

/// The scheme by which the client reached the gateway.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Scheme {
    /// Plain HTTP.
    #[default]
    Http,
    /// HTTPS, terminated by the gateway, or by a trusted proxy in front of it.
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

/// The bytes that a host name may contain.
const HOST_BYTES: [bool; 256] = {
    let mut table = [false; 256];
    let mut at = 0;
    while at < 256 {
        let byte = at as u8;
        table[at] = byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'~');
        at += 1;
    }
    table
};

/// The normal form of a host: lower case, without the scheme's default port, and without the dot that may end a
/// name. `None`: malformed.
pub(crate) fn normalize_host(host: &str, scheme: Scheme) -> Option<Cow<'_, str>> {
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
            let is_name = name.bytes().fold(true, |all, byte| all & HOST_BYTES[usize::from(byte)]);
            if name.is_empty() || name.len() > 255 || !is_name {
                return None;
            }
            (name, port)
        }
    };
    let full = name;
    let name = name.strip_suffix('.').filter(|name| !name.is_empty()).unwrap_or(name);
    let keep = match port {
        None | Some("") => name.len(),
        Some(port) if !port.bytes().all(|b| b.is_ascii_digit()) || port.len() > 5 => return None,
        Some(port) if port == scheme.default_port() => name.len(),
        Some(port) if name.len() < full.len() => {
            return Some(Cow::Owned(format!("{name}:{port}").to_ascii_lowercase()));
        }
        Some(_) => host.len(),
    };
    let kept = &host[..keep];
    Some(if kept.bytes().any(|b| b.is_ascii_uppercase()) {
        Cow::Owned(kept.to_ascii_lowercase())
    } else {
        Cow::Borrowed(kept)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_normalized_or_rejected() {
        let host = |text| normalize_host(text, Scheme::Http);
        assert_eq!(host("Shop.Example:80").as_deref(), Some("shop.example"));
        assert_eq!(host("shop.example:").as_deref(), Some("shop.example"));
        assert_eq!(host("shop.example:8080").as_deref(), Some("shop.example:8080"));
        assert_eq!(host("Shop.example.").as_deref(), Some("shop.example"));
        assert_eq!(host("Shop.example.:8080").as_deref(), Some("shop.example:8080"));
        assert_eq!(host("[::1]:80").as_deref(), Some("[::1]"));
        assert_eq!(normalize_host("a:80", Scheme::Https).as_deref(), Some("a:80"));
        for malformed in [
            "", ":80", "a b", "a/b", "u@a", "a:b", "a:1:2", "[", "[]", "[::1", "[::1]x", "a:123456",
        ] {
            assert_eq!(host(malformed), None, "{malformed}");
        }
    }
}
