//! Values that an HTTP service gives: where it is asked, and how.

use std::fmt;
use std::time::Duration;

use crate::fields::Fields;

/// The longest that a service may be said to lag: marks of the log are kept a little longer than
/// this, and what could be older than those can't be judged.
pub(crate) const MOST_LAG: Duration = Duration::from_secs(10);

/// What is always said or understood by Tidegate itself.
const RESERVED: [&str; 15] = [
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
    /// Where one value is.
    pub url: ServiceUrl,
    /// How long one request may take, to the last byte of its answer.
    pub timeout: Duration,
    /// The most requests under way at once from one process, 1 to 1024.
    pub connections: usize,
    /// The media types that make a value, in lower case, without parameters. JSON is checked to be
    /// JSON; anything else is passed through with its type.
    pub types: Vec<String>,
    /// The largest body that is read, in bytes. A larger one is an error of the service.
    pub max_body_bytes: u64,
    /// Constant request headers.
    pub headers: Vec<ServiceHeader>,
}

/// One constant request header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceHeader {
    /// Its name, as written.
    pub name: String,
    /// What it says.
    pub value: HeaderText,
}

/// What a header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderText {
    /// As it stands in the contract.
    Plain(String),
    /// The content of this environment variable, so that contracts hold no secrets.
    Env(String),
}

/// `http://host[:port]/path/{id}`, checked.
#[derive(Clone, PartialEq, Eq)]
pub struct ServiceUrl {
    text: String,
    /// Where the path begins.
    path: usize,
}

impl ServiceUrl {
    /// Reads a template.
    ///
    /// # Errors
    /// What is wrong, for people.
    pub fn parse(text: &str) -> Result<Self, String> {
        let Some(rest) = text.strip_prefix("http://") else {
            return Err(match text.split_once("://") {
                Some(("https", _)) => "TLS to a service is not spoken here; name it as \
                                       `http://…`, through a proxy beside this process that speaks \
                                       it"
                .to_owned(),
                _ => "a service is at `http://…`".to_owned(),
            });
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        check_authority(authority)?;
        check_target(target)?;
        Ok(Self { text: text.to_owned(), path: text.len() - target.len() })
    }

    /// Host and port, as written.
    pub fn authority(&self) -> &str {
        &self.text["http://".len()..self.path]
    }

    /// The path and query of one value. Whatever the id holds, it stays in its place: all but
    /// letters, digits, `-`, `.`, `_` and `~` is percent-encoded.
    ///
    /// # Errors
    /// The id would make a segment of dots alone, which servers take for a way to another path.
    pub fn target(&self, id: &str) -> Result<String, &'static str> {
        let target = self.text[self.path..].replace("{id}", &encoded(id));
        let path = target.split('?').next().unwrap_or_default();
        if path.split('/').any(|segment| matches!(segment, "." | "..")) {
            return Err("an id that is `.` or `..` would name another path");
        }
        Ok(target)
    }

    /// The template as it was written.
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
        return Err("the host has to be fixed: `{id}` belongs into the path or the query".into());
    }
    if authority.contains('@') {
        return Err("a login does not belong into the address: send it with `headers`".into());
    }
    let port = match authority.rsplit_once(':') {
        Some((_, port)) if !port.contains(']') => Some(port),
        _ => None,
    };
    let host = port.map_or(authority, |port| &authority[..authority.len() - port.len() - 1]);
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host_is_good = match bare {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            let known = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_');
            !host.is_empty() && host.bytes().all(known)
        }
    };
    if !host_is_good {
        return Err(format!("`{host}` is no host"));
    }
    match port {
        Some(port) if port.parse::<u16>().is_ok_and(|port| port > 0) => Ok(()),
        Some(port) => Err(format!("`{port}` is no port")),
        None => Ok(()),
    }
}

fn check_target(target: &str) -> Result<(), String> {
    if !target.starts_with('/') {
        return Err("a path is missing, such as `/prices/{id}`".into());
    }
    let mut rest = target;
    let mut places = 0;
    while let Some(open) = rest.find(['{', '}']) {
        let close = rest[open..].find('}').map(|close| open + close);
        match close.map(|close| &rest[open..=close]) {
            Some("{id}") => places += 1,
            Some(other) if other.starts_with('{') => {
                return Err(format!("`{other}` is not known here; a service is asked by `{{id}}`"));
            }
            _ => return Err("a brace stands alone".into()),
        }
        rest = &rest[open + "{id}".len()..];
    }
    if places == 0 {
        return Err("`{id}` is missing: one answer would stand for every id".into());
    }
    let foreign = |c: char| !c.is_ascii_graphic() || "\"<>\\^`|#".contains(c);
    if let Some(foreign) = target.chars().find(|c| foreign(*c)) {
        return Err(format!("{foreign:?} can't stand in a path or query: percent-encode it"));
    }
    let path = target.split('?').next().unwrap_or_default();
    if path.split('/').any(|segment| matches!(segment, "." | "..")) {
        return Err("the path holds a segment of dots".into());
    }
    Ok(())
}

fn encoded(id: &str) -> String {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut text = String::with_capacity(id.len());
    for byte in id.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            text.push(byte.into());
        } else {
            text.push('%');
            text.push(HEX[usize::from(byte >> 4)].into());
            text.push(HEX[usize::from(byte & 15)].into());
        }
    }
    text
}

impl ServiceHeader {
    /// Reads `Name: value` or `Name: $VARIABLE`.
    fn parse(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once(':').ok_or("it is not of the form `Name: value`")?;
        let is_token = |c: u8| c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&c);
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(format!("`{name}` is no name of a header"));
        }
        if RESERVED.iter().any(|reserved| name.eq_ignore_ascii_case(reserved)) {
            return Err(format!("`{name}` is said by Tidegate itself"));
        }
        let value = value.trim();
        if value.is_empty() || !value.chars().all(|c| c.is_ascii_graphic() || c == ' ') {
            return Err("a value is plain ASCII text".into());
        }
        let value = match value.strip_prefix('$') {
            None => HeaderText::Plain(value.to_owned()),
            Some(variable)
                if !variable.is_empty()
                    && variable.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_') =>
            {
                HeaderText::Env(variable.to_owned())
            }
            Some(_) => return Err(format!("`{value}` names no environment variable")),
        };
        Ok(Self { name: name.to_owned(), value })
    }

    /// Whether it says who we are, and says it in the contract.
    pub(crate) fn shows_a_secret(&self) -> bool {
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

/// Reads `value = { http = "…", … }`.
pub(crate) fn read(value: &mut Fields<'_>) -> Option<Service> {
    const URL: &str = "write where one value is, such as \"http://pricing:8080/prices/{id}\"";
    let url = value.required_with("http", "malformed-url", URL, ServiceUrl::parse);
    let timeout = value.duration("timeout").unwrap_or(Duration::from_secs(2));
    if timeout.is_zero() || timeout > Duration::from_secs(60) {
        let message = format!("{} is out of range", crate::toml_in::show(timeout));
        value.problem("out-of-range", "timeout", message, "choose 1ms to 60s");
    }
    let connections = value.number("connections", 1.0..=1024.0).unwrap_or(32.0);
    if connections.fract() != 0.0 {
        let message = format!("{connections} is no whole number");
        value.problem("wrong-value", "connections", message, "choose 1 to 1024");
    }
    let mut types = value.list_with("types", "write it as \"text/html\"", media_type);
    if types.is_empty() {
        types.push("application/json".to_owned());
    }
    Some(Service {
        timeout,
        connections: connections as usize,
        types,
        max_body_bytes: value.size("max_body").unwrap_or(4 << 20),
        headers: value.list_with(
            "headers",
            "write \"Name: value\", or \"Name: $VARIABLE\" for what is in the environment",
            ServiceHeader::parse,
        ),
        url: url?,
    })
}

fn media_type(text: &str) -> Result<String, String> {
    let known = |c: u8| c.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&c);
    let part = |part: &str| !part.is_empty() && part.bytes().all(known);
    match text.split_once('/') {
        Some((kind, sub)) if part(kind) && part(sub) => Ok(text.to_ascii_lowercase()),
        _ => Err("it is no media type without parameters".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_address_says_what_is_wrong_with_it() {
        for (text, says) in [
            ("https://pricing/prices/{id}", "TLS"),
            ("pricing/prices/{id}", "http://"),
            ("ftp://pricing/{id}", "http://"),
            ("http:///prices/{id}", "no host"),
            ("http://{id}.internal/prices", "the host has to be fixed"),
            ("http://me:secret@pricing/prices/{id}", "headers"),
            ("http://pricing:0/prices/{id}", "no port"),
            ("http://pricing:http/prices/{id}", "no port"),
            ("http://[::g]/{id}", "no host"),
            ("http://pricing", "a path is missing"),
            ("http://pricing?id={id}", "a path is missing"),
            ("http://pricing/prices", "`{id}` is missing"),
            ("http://pricing/prices/{id}/{locale}", "`{locale}` is not known"),
            ("http://pricing/prices/{id", "a brace stands alone"),
            ("http://pricing/prices/id}", "a brace stands alone"),
            ("http://pricing/pri ces/{id}", "percent-encode"),
            ("http://pricing/prices/{id}#top", "percent-encode"),
            ("http://pricing/../prices/{id}", "dots"),
        ] {
            let err = ServiceUrl::parse(text).expect_err(text);
            assert!(err.contains(says), "{text}: {err}");
        }
    }

    #[test]
    fn the_id_takes_its_place() {
        let target = |url: &str, id: &str| ServiceUrl::parse(url).expect(url).target(id);
        assert_eq!(target("http://p/prices/{id}", "42"), Ok("/prices/42".to_owned()));
        assert_eq!(
            target("http://[::1]:80/p?id={id}&full", "a b&x=1"),
            Ok("/p?id=a%20b%26x%3D1&full".to_owned())
        );
        assert_eq!(target("http://p/{id}", "../ä?#"), Ok("/..%2F%C3%A4%3F%23".to_owned()));
        assert!(target("http://p/{id}/x", "..").is_err());
        assert!(target("http://p/.{id}", ".").is_err());
        assert_eq!(target("http://p/x?{id}", ".."), Ok("/x?..".to_owned()));
        let url = ServiceUrl::parse("http://pricing:8080/prices/{id}").expect("sound");
        assert_eq!(url.authority(), "pricing:8080");
    }

    #[test]
    fn headers_hold_no_secrets() {
        let header = ServiceHeader::parse("Authorization: $PRICING").expect("sound");
        assert_eq!(header.value, HeaderText::Env("PRICING".to_owned()));
        assert!(!header.shows_a_secret());
        assert!(ServiceHeader::parse("X-Api-Key: 4711").expect("sound").shows_a_secret());
        for wrong in ["nothing", ": x", "a b: c", "Host: x", "X: ", "X: $", "X: $a-b", "X: ä"] {
            assert!(ServiceHeader::parse(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// No id leaves its segment or its parameter, and no two ids are asked for in one way.
        #[test]
        fn no_id_breaks_out_of_its_place(id in ".{1,24}", other in ".{1,24}") {
            let url = ServiceUrl::parse("http://p/a/{id}/b?x={id}&y=1").expect("sound");
            if let Ok(target) = url.target(&id) {
                prop_assert_eq!(target.matches('/').count(), 3);
                prop_assert_eq!(target.matches('?').count(), 1);
                prop_assert_eq!(target.matches('&').count(), 1);
                prop_assert!(target.ends_with("&y=1"));
                prop_assert!(target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#'));
                prop_assert!(id == other || url.target(&other) != Ok(target));
            }
        }
    }
}
