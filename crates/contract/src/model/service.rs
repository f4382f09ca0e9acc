//! HTTP services as origins: their address, headers and limits.

use std::fmt;
use std::time::Duration;

use crate::naming::percent;

/// The maximum lag of a service. The watermark history is kept slightly longer than this; the freshness
/// of an older answer could not be decided.
pub(crate) const MAX_LAG: Duration = Duration::from_secs(10);

/// The request headers that Tidegate sets or interprets itself.
const RESERVED_HEADERS: [&str; 15] = [
    "accept",
    "accept-encoding",
    "connection",
    "content-length",
    "expect",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "range",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// An HTTP service as the origin of a contract.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// The address of one value.
    pub url: ServiceUrl,
    /// The maximum duration of one request, up to the last byte of the response.
    pub timeout: Duration,
    /// The maximum number of concurrent requests of one process, 1 to 1024.
    pub connections: usize,
    /// The accepted media types of a value, in lower case, without parameters. JSON is validated; any
    /// other type is passed through unchanged.
    pub types: Vec<String>,
    /// The maximum size of a body in bytes. A larger body is an error of the service.
    pub max_body_bytes: u64,
    /// Constant request headers.
    pub headers: Vec<ServiceHeader>,
}

/// A constant request header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceHeader {
    /// The name, as written in the contract.
    pub name: String,
    /// The value.
    pub value: HeaderText,
}

/// The value of a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderText {
    /// Text in the contract.
    Plain(String),
    /// The content of the environment variable of this name, so that contracts contain no secrets.
    Env(String),
}

/// The address template of a service: `http://host[:port]/path/{id}`, the same with `https://`, or
/// `unix:/path/of/socket:/path/{id}`.
#[derive(Clone, PartialEq, Eq)]
pub struct ServiceUrl {
    text: String,
    server: Server,
    /// The offset of host and port, or of the path of the socket.
    from: usize,
    /// The offset of the path.
    path: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Server {
    Http,
    Https,
    Unix,
}

impl ServiceUrl {
    /// Parses a template.
    ///
    /// # Errors
    /// A sentence that describes the first error.
    pub fn parse(text: &str) -> Result<Self, String> {
        let schemes =
            [("http://", Server::Http), ("https://", Server::Https), ("unix:", Server::Unix)];
        let scheme = schemes.iter().find(|(scheme, _)| text.starts_with(scheme));
        let Some((scheme, server)) = scheme else {
            return Err(
                "the address of a service starts with `http://`, `https://` or `unix:/`".to_owned()
            );
        };
        let rest = &text[scheme.len()..];
        let target = match server {
            Server::Unix => {
                let (socket, target) = rest
                    .split_once(':')
                    .ok_or("the path is missing, such as `unix:/run/pricing.sock:/prices/{id}`")?;
                if !socket.starts_with('/') || socket.contains(['{', '}']) {
                    return Err("the path of the socket must be absolute and fixed".to_owned());
                }
                target
            }
            Server::Http | Server::Https => {
                let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
                let (authority, target) = rest.split_at(end);
                check_authority(authority)?;
                target
            }
        };
        check_target(target)?;
        let path = text.len() - target.len();
        Ok(Self { text: text.to_owned(), server: *server, from: scheme.len(), path })
    }

    /// Returns host and port as written; `localhost` for a socket.
    pub fn authority(&self) -> &str {
        match self.server {
            Server::Http | Server::Https => &self.text[self.from..self.path],
            Server::Unix => "localhost",
        }
    }

    /// Returns whether connections are encrypted.
    pub fn is_tls(&self) -> bool {
        self.server == Server::Https
    }

    /// Returns the path of the socket of Unix, if the address is one.
    pub fn socket(&self) -> Option<&str> {
        (self.server == Server::Unix).then(|| &self.text[self.from..self.path - 1])
    }

    /// Returns the address of the server, without the path of a value.
    pub fn server(&self) -> &str {
        let end = if self.server == Server::Unix { self.path - 1 } else { self.path };
        &self.text[..end]
    }

    /// Returns the placeholders in order: `id`, and variants of the key.
    pub fn placeholders(&self) -> impl Iterator<Item = &str> {
        let parts = self.text[self.path..].split('{').skip(1);
        parts.filter_map(|part| part.split_once('}')).map(|(name, _)| name)
    }

    /// Returns the path and query of one value, by `parameters`, pairs of placeholder and value. In a value, all
    /// characters except letters, digits, `-`, `.`, `_` and `~` are percent-encoded, so that it can't change the rest of
    /// the path or query.
    ///
    /// # Errors
    /// A value would make the path segment `.` or `..`, which servers resolve to another path, or one is missing.
    pub fn target(&self, parameters: &[(&str, &str)]) -> Result<String, &'static str> {
        let mut parts = self.text[self.path..].split('{');
        let mut target = parts.next().unwrap_or_default().to_owned();
        for (name, rest) in parts.filter_map(|part| part.split_once('}')) {
            let value = parameters.iter().find(|(given, _)| *given == name);
            let (_, value) = value.ok_or("a placeholder of the address has no value")?;
            target.push_str(&percent::encode(value));
            target.push_str(rest);
        }
        let path = target.split('?').next().unwrap_or_default();
        if path.split('/').any(|segment| matches!(segment, "." | "..")) {
            return Err("an id or variant of `.` or `..` would address another path");
        }
        Ok(target)
    }

    /// Returns the template's text.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for ServiceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

impl fmt::Display for ServiceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn check_authority(authority: &str) -> Result<(), String> {
    if authority.contains('{') {
        return Err("the host must be fixed: `{id}` belongs in the path or the query".into());
    }
    if authority.contains('@') {
        return Err("credentials do not belong in the address: send them with `headers`".into());
    }
    let port = match authority.rsplit_once(':') {
        Some((_, port)) if !port.contains(']') => Some(port),
        _ => None,
    };
    let host = port.map_or(authority, |port| &authority[..authority.len() - port.len() - 1]);
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host_is_valid = match bare {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            let known = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_');
            !host.is_empty() && host.bytes().all(known)
        }
    };
    if !host_is_valid {
        return Err(format!("`{host}` is not a host"));
    }
    match port {
        Some(port) if port.parse::<u16>().is_ok_and(|port| port > 0) => Ok(()),
        Some(port) => Err(format!("`{port}` is not a port")),
        None => Ok(()),
    }
}

/// Whether `text` is a name in braces.
fn is_placeholder(text: &str) -> bool {
    let name = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or_default();
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    !name.is_empty() && !name.as_bytes()[0].is_ascii_digit() && name.bytes().all(is_part)
}

fn check_target(target: &str) -> Result<(), String> {
    if !target.starts_with('/') {
        return Err("the path is missing, such as `/prices/{id}`".into());
    }
    let mut rest = target;
    let mut ids = 0;
    while let Some(open) = rest.find(['{', '}']) {
        let close = rest[open..].find('}').map(|close| open + close);
        match close.map(|close| &rest[open..=close]) {
            Some("{id}") => ids += 1,
            // The contract checks that it is a variant of its key.
            Some(other) if is_placeholder(other) => {}
            Some(other) if other.starts_with('{') => {
                return Err(format!(
                    "`{other}` is no placeholder; write `{{id}}` or a variant of the key"
                ));
            }
            _ => return Err("a brace has no partner".into()),
        }
        rest = &rest[close.map_or(rest.len(), |close| close + 1)..];
    }
    if ids == 0 {
        return Err("`{id}` is missing: all ids would get the same answer".into());
    }
    let foreign = |c: char| !c.is_ascii_graphic() || "\"<>\\^`|#".contains(c);
    if let Some(foreign) = target.chars().find(|c| foreign(*c)) {
        return Err(format!("{foreign:?} is not allowed in a path or query: percent-encode it"));
    }
    let path = target.split('?').next().unwrap_or_default();
    if path.split('/').any(|segment| matches!(segment, "." | "..")) {
        return Err("the path has a segment `.` or `..`".into());
    }
    Ok(())
}

impl ServiceHeader {
    /// Parses `Name: value` or `Name: $VARIABLE`.
    ///
    /// # Errors
    /// A sentence that describes the first error.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once(':').ok_or("it is not of the form `Name: value`")?;
        let is_token = |c: u8| c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&c);
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(format!("`{name}` is not a header name"));
        }
        if RESERVED_HEADERS.iter().any(|reserved| name.eq_ignore_ascii_case(reserved)) {
            return Err(format!("Tidegate sets `{name}` itself"));
        }
        let value = value.trim();
        if value.is_empty() || !value.chars().all(|c| c.is_ascii_graphic() || c == ' ') {
            return Err("the value must be printable ASCII text".into());
        }
        let value = match value.strip_prefix('$') {
            None => HeaderText::Plain(value.to_owned()),
            Some(variable)
                if !variable.is_empty()
                    && variable.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_') =>
            {
                HeaderText::Env(variable.to_owned())
            }
            Some(_) => return Err(format!("`{value}` is not the name of an environment variable")),
        };
        Ok(Self { name: name.to_owned(), value })
    }

    /// Returns whether the contract contains the value of a header that usually carries a secret.
    pub(crate) fn exposes_secret(&self) -> bool {
        let name = self.name.to_ascii_lowercase();
        let secret = ["authorization", "cookie", "token", "secret", "key", "password"];
        matches!(self.value, HeaderText::Plain(_)) && secret.iter().any(|part| name.contains(part))
    }
}

impl fmt::Display for ServiceHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            HeaderText::Plain(text) => write!(f, "{}: {text}", self.name),
            HeaderText::Env(variable) => write!(f, "{}: ${variable}", self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn malformed_address_names_error() {
        for (text, expected) in [
            ("https://pricing/prices", "`{id}` is missing"),
            ("https:///prices/{id}", "not a host"),
            ("unix:/run/pricing.sock", "the path is missing"),
            ("unix:run/pricing.sock:/prices/{id}", "must be absolute"),
            ("unix:/run/{id}.sock:/prices/{id}", "absolute and fixed"),
            ("unix:/run/pricing.sock:/prices", "`{id}` is missing"),
            ("pricing/prices/{id}", "http://"),
            ("ftp://pricing/{id}", "http://"),
            ("http:///prices/{id}", "not a host"),
            ("http://{id}.internal/prices", "the host must be fixed"),
            ("http://me:secret@pricing/prices/{id}", "headers"),
            ("http://pricing:0/prices/{id}", "not a port"),
            ("http://pricing:http/prices/{id}", "not a port"),
            ("http://[::g]/{id}", "not a host"),
            ("http://pricing", "the path is missing"),
            ("http://pricing?id={id}", "the path is missing"),
            ("http://pricing/prices", "`{id}` is missing"),
            ("http://pricing/prices/{id}/{lo cale}", "`{lo cale}` is no placeholder"),
            ("http://pricing/prices/{id", "a brace has no partner"),
            ("http://pricing/prices/id}", "a brace has no partner"),
            ("http://pricing/pri ces/{id}", "percent-encode"),
            ("http://pricing/prices/{id}#top", "percent-encode"),
            ("http://pricing/../prices/{id}", "segment `.` or `..`"),
        ] {
            let err = ServiceUrl::parse(text).expect_err(text);
            assert!(err.contains(expected), "{text}: {err}");
        }
    }

    #[test]
    fn id_is_percent_encoded() {
        let target = |url: &str, id: &str| {
            ServiceUrl::parse(url).expect(url).target(&[("id", id), ("currency", "a/b")])
        };
        assert_eq!(target("http://p/prices/{id}", "42"), Ok("/prices/42".to_owned()));
        assert_eq!(
            target("http://[::1]:80/p?id={id}&full", "a b&x=1"),
            Ok("/p?id=a%20b%26x%3D1&full".to_owned())
        );
        assert_eq!(target("http://p/{id}", "../ä?#"), Ok("/..%2F%C3%A4%3F%23".to_owned()));
        let with_variant = target("http://p/{currency}/{id}?c={currency}", "42");
        assert_eq!(with_variant, Ok("/a%2Fb/42?c=a%2Fb".to_owned()));
        assert_eq!(
            target("http://p/{id}?c={currency}", "{currency}"),
            Ok("/%7Bcurrency%7D?c=a%2Fb".into())
        );
        assert!(target("http://p/{id}/{locale}", "42").is_err());
        assert!(target("http://p/{id}/x", "..").is_err());
        assert!(target("http://p/.{id}", ".").is_err());
        assert_eq!(target("http://p/x?{id}", ".."), Ok("/x?..".to_owned()));
        let url = ServiceUrl::parse("http://pricing:8080/prices/{id}").expect("sound");
        assert_eq!(url.authority(), "pricing:8080");
    }

    #[test]
    fn server_of_address_read() {
        for (text, server, authority, socket) in [
            ("http://p:1/{id}", "http://p:1", "p:1", None),
            ("https://p/{id}", "https://p", "p", None),
            ("unix:/run/p.sock:/a/{id}", "unix:/run/p.sock", "localhost", Some("/run/p.sock")),
        ] {
            let url = ServiceUrl::parse(text).expect(text);
            assert_eq!((url.server(), url.authority(), url.socket()), (server, authority, socket));
            assert_eq!(url.is_tls(), text.starts_with("https"));
        }
        let url = ServiceUrl::parse("unix:/run/p.sock:/a/{id}").expect("sound");
        assert_eq!(url.target(&[("id", "1")]), Ok("/a/1".to_owned()));
    }

    #[test]
    fn header_secret_is_detected() {
        let header = ServiceHeader::parse("Authorization: $PRICING").expect("sound");
        assert_eq!(header.value, HeaderText::Env("PRICING".to_owned()));
        assert!(!header.exposes_secret());
        assert!(ServiceHeader::parse("X-Api-Key: 4711").expect("sound").exposes_secret());
        for wrong in ["nothing", ": x", "a b: c", "Host: x", "X: ", "X: $", "X: $a-b", "X: ä"] {
            assert!(ServiceHeader::parse(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// No id changes another segment or parameter, and different ids have different targets.
        #[test]
        fn id_stays_in_its_segment(id in ".{1,24}", other in ".{1,24}") {
            let url = ServiceUrl::parse("http://p/a/{id}/b?x={id}&y=1").expect("sound");
            if let Ok(target) = url.target(&[("id", &id)]) {
                prop_assert_eq!(target.matches('/').count(), 3);
                prop_assert_eq!(target.matches('?').count(), 1);
                prop_assert_eq!(target.matches('&').count(), 1);
                prop_assert!(target.ends_with("&y=1"));
                prop_assert!(target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#'));
                prop_assert!(id == other || url.target(&[("id", &other)]) != Ok(target));
            }
        }
    }
}
