//! The proxies in front of the gateway, and the hosts that it serves.

use std::net::IpAddr;

use contract::config::TableReader;

use crate::http::client::{ForwardingHeaders, any_contains};
use crate::http::network::Network;
use crate::http::target::{Scheme, normalize_host};

/// The words for [`ForwardingHeaders`].
const HEADER_WORDS: [(&str, ForwardingHeaders); 2] =
    [("x-forwarded", ForwardingHeaders::XForwarded), ("forwarded", ForwardingHeaders::Forwarded)];

/// The words for [`Scheme`].
const SCHEME_WORDS: [(&str, Scheme); 2] = [("http", Scheme::Http), ("https", Scheme::Https)];

/// The proxies in front of the gateway, and how clients reach it.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    /// The addresses of proxies whose description of a client is believed. Default: none.
    pub trusted: Vec<Network>,
    /// The headers in which they describe it.
    pub headers: ForwardingHeaders,
    /// Whether they set the client's host in these headers, in place of `Host`.
    pub forwarded_host: bool,
    /// Whether each of their connections starts with a PROXY header.
    pub proxy_protocol: bool,
    /// The scheme of requests that no trusted proxy describes.
    pub scheme: Scheme,
    /// The served hosts. Empty: all. A request for another host gets a 421.
    pub hosts: Vec<HostPattern>,
}

/// A served host.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HostPattern {
    /// In its normal form, without `*`.
    name: String,
    /// Whether it stands for all hosts that end with the name.
    is_suffix: bool,
    /// Whether the name has a port, and matches with this port only.
    has_port: bool,
}

impl Proxies {
    /// The keys of `[edge]` that set these options.
    pub(super) const KEYS: [&str; 6] =
        ["trusted_proxies", "forwarded", "forwarded_host", "proxy_protocol", "scheme", "hosts"];

    /// Reads the options from `[edge]`.
    pub(super) fn read(table: &mut TableReader<'_>) -> Self {
        const NETWORKS: &str = "write addresses and networks, such as \"10.0.0.0/8\"";
        const HOSTS: &str = "write host names, such as \"shop.example\" or \"*.shop.example\"";
        let trusted = table.list("trusted_proxies", NETWORKS, str::parse::<Network>);
        let proxies = Self {
            headers: table.choice("forwarded", &HEADER_WORDS).unwrap_or_default(),
            forwarded_host: table.flag("forwarded_host").unwrap_or_default(),
            proxy_protocol: table.flag("proxy_protocol").unwrap_or_default(),
            scheme: table.choice("scheme", &SCHEME_WORDS).unwrap_or_default(),
            hosts: table.list("hosts", HOSTS, str::parse),
            trusted,
        };
        if let Some(at) = proxies.trusted.iter().position(Network::is_everything) {
            let key = format!("trusted_proxies[{at}]");
            let help = "name the networks of the proxies: every client could choose its address";
            table.problem("out-of-range", &key, "is everything", help);
        }
        for key in ["forwarded", "forwarded_host", "proxy_protocol"] {
            if proxies.trusted.is_empty() && table.has(key) {
                let help = "name the proxies in `trusted_proxies`, or remove it";
                table.problem("conflict", key, "has no effect without `trusted_proxies`", help);
            }
        }
        proxies
    }

    /// Whether a peer is a trusted proxy.
    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        any_contains(&self.trusted, address)
    }

    /// Whether a host in its normal form is served.
    pub(crate) fn serves(&self, host: &str) -> bool {
        self.hosts.is_empty() || self.hosts.iter().any(|pattern| pattern.matches(host))
    }
}

impl HostPattern {
    fn matches(&self, host: &str) -> bool {
        let host = if self.has_port { host } else { without_port(host) };
        match host.strip_suffix(self.name.as_str()) {
            Some("") => !self.is_suffix,
            Some(before) => self.is_suffix && before.ends_with('.') && before.len() > 1,
            None => false,
        }
    }
}

impl std::str::FromStr for HostPattern {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, is_suffix) = match text.strip_prefix("*.") {
            Some(name) => (name, true),
            None => (text, false),
        };
        let name = normalize_host(name, Scheme::Http).ok_or("is not a host")?;
        let name = normalize_host(&name, Scheme::Https).ok_or("is not a host")?.into_owned();
        let has_port = without_port(&name).len() < name.len();
        Ok(Self { has_port, name, is_suffix })
    }
}

/// A host in its normal form without its port.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port))
            if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.is_empty() =>
        {
            // The address of IPv6 is in brackets.
            if name.starts_with('[') == name.ends_with(']') { name } else { host }
        }
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Proxies, String> {
        let table: toml::Table = text.parse().expect("TOML");
        let mut reader = TableReader::new("edge", &table, &Proxies::KEYS);
        let proxies = Proxies::read(&mut reader);
        reader.finish(Some(proxies)).map_err(|problems| problems[0].to_string())
    }

    #[test]
    fn proxies_read() {
        let proxies = read(
            "trusted_proxies = [\"10.0.0.0/8\", \"2001:db8::1\"]\nforwarded = \"forwarded\"\n\
             forwarded_host = true\nproxy_protocol = true\nscheme = \"https\"\nhosts = [\"Shop.example\"]",
        )
        .expect("valid");
        assert!(proxies.trusts([10, 1, 1, 1].into()) && !proxies.trusts([11, 0, 0, 1].into()));
        assert!(proxies.forwarded_host && proxies.proxy_protocol);
        let words = (proxies.headers, proxies.scheme);
        assert_eq!(words, (ForwardingHeaders::Forwarded, Scheme::Https));
        assert!(proxies.serves("shop.example") && !proxies.serves("evil.example"));
    }

    #[test]
    fn invalid_proxies_rejected() {
        for (text, problem) in [
            (
                "trusted_proxies = [\"10.0.0.1/8\"]",
                "edge.trusted_proxies[0]: the text \"10.0.0.1/8\"",
            ),
            ("trusted_proxies = [\"lb\"]", "edge.trusted_proxies[0]: "),
            (
                "trusted_proxies = [\"::1\", \"0.0.0.0/0\"]",
                "edge.trusted_proxies[1]: is everything",
            ),
            (
                "proxy_protocol = true",
                "edge.proxy_protocol: has no effect without `trusted_proxies`",
            ),
            ("forwarded = \"both\"", "edge.forwarded: `both` is not a known value"),
            ("hosts = [\"http://shop\"]", "edge.hosts[0]: "),
        ] {
            let err = read(text).expect_err(text);
            assert!(err.starts_with(problem), "{err}");
        }
    }

    #[test]
    fn host_patterns_match() {
        for (pattern, host, expected) in [
            ("shop.example", "shop.example", true),
            ("shop.example", "shop.example:8080", true),
            ("shop.example:8080", "shop.example:8080", true),
            ("shop.example:8080", "shop.example", false),
            ("shop.example", "www.shop.example", false),
            ("*.shop.example", "www.shop.example", true),
            ("*.shop.example", "www.shop.example:8080", true),
            ("*.shop.example", "shop.example", false),
            ("*.shop.example", "evilshop.example", false),
            ("*.shop.example", ".shop.example", false),
            ("[::1]", "[::1]", true),
            ("[::1]", "[::1]:8080", true),
        ] {
            let parsed: HostPattern = pattern.parse().expect(pattern);
            assert_eq!(parsed.matches(host), expected, "{pattern} {host}");
        }
    }
}
