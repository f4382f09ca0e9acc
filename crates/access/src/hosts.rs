//! The names of a listener, and the sites whose pages may use it.
//!
//! A page of `evil.example` can point its own name at this machine (DNS rebinding). The browser then sends
//! the page's requests here, as requests of the same origin, and shows their answers to the page. It still
//! sends the name `evil.example` in `Host`, which the page can't change. An IP address in `Host` needs no
//! check: an address has no name that could be pointed elsewhere.

use std::net::{Ipv4Addr, Ipv6Addr};

use contract::config::ValueError;
use http::header::{HOST, ORIGIN};
use http::request::Parts;

use crate::refusal::Refusal;

/// The names that a `Host` header may have, beside IP addresses and `localhost`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Hosts(Vec<String>);

impl Hosts {
    /// Creates a list of [checked](Self::check_name) names.
    #[must_use]
    pub fn new(names: Vec<String>) -> Self {
        Self(names)
    }

    /// Checks a name of the configuration: `tidegate.internal`, or `*.internal` for all names below it.
    ///
    /// # Errors
    /// It is another text.
    pub fn check_name(text: &str) -> Result<String, ValueError> {
        const FORM: &str = "write a host name without scheme and port, such as \"tidegate.internal\" or \"*.internal\"";
        let name = text.to_ascii_lowercase();
        let labels = name.strip_prefix("*.").unwrap_or(&name);
        let is_label = |label: &str| {
            !label.is_empty()
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        };
        if labels.split('.').all(is_label) {
            return Ok(name);
        }
        Err(ValueError::wrong_value(format!("`{text}` is not a host name"), FORM))
    }

    /// Checks the authority of a request and the site of the page that sends it. `needs_token`: the listener
    /// answers only senders with a token, which no page of another site has; then names are checked only if
    /// there are configured ones.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(crate) fn check(&self, request: &Parts, needs_token: bool) -> Result<(), Refusal> {
        let authority = authority(request)?;
        let name = host_name(authority);
        let is_any_name_own = needs_token && self.0.is_empty();
        if !is_any_name_own && !self.includes(name) {
            return Err(Refusal::UnknownHost(name.to_owned()));
        }
        let mut origins = request.headers.get_all(ORIGIN).iter();
        match origins.next() {
            // Programs send none. A browser sends none with a `GET` of the same origin; the check of `Host`
            // holds for that.
            None => Ok(()),
            Some(origin) => {
                let origin = origin.to_str().unwrap_or_default();
                let site = origin.split_once("://").map(|(_, site)| site);
                let is_own = site.is_some_and(|site| site.eq_ignore_ascii_case(authority));
                if is_own && origins.next().is_none() {
                    return Ok(());
                }
                Err(Refusal::ForeignOrigin(origin.to_owned()))
            }
        }
    }

    fn includes(&self, name: &str) -> bool {
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        if is_address(&name) || name == "localhost" || name.ends_with(".localhost") {
            return true;
        }
        self.0.iter().any(|own| match own.strip_prefix('*') {
            Some(suffix) => name.len() > suffix.len() && name.ends_with(suffix),
            None => *own == name,
        })
    }
}

/// Returns host and port of a request. A target with an authority has to agree with `Host`.
fn authority(request: &Parts) -> Result<&str, Refusal> {
    let mut hosts = request.headers.get_all(HOST).iter();
    let host = hosts.next().ok_or(Refusal::MalformedHost("the request has no Host header"))?;
    if hosts.next().is_some() {
        return Err(Refusal::MalformedHost("the request has several Host headers"));
    }
    let host = host.to_str().ok().filter(|host| !host.is_empty() && !host.contains('@'));
    let host = host.ok_or(Refusal::MalformedHost("the Host header is not a host and port"))?;
    match request.uri.authority() {
        Some(target) if !target.as_str().eq_ignore_ascii_case(host) => {
            Err(Refusal::MalformedHost("the request's target and its Host header differ"))
        }
        _ => Ok(host),
    }
}

/// Returns the name without the port, and an IPv6 address without its brackets.
fn host_name(authority: &str) -> &str {
    if let Some((address, _)) = authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return address;
    }
    authority.split_once(':').map_or(authority, |(name, _)| name)
}

fn is_address(name: &str) -> bool {
    name.parse::<Ipv4Addr>().is_ok() || name.parse::<Ipv6Addr>().is_ok()
}

#[cfg(test)]
mod tests {
    use http::Request;
    use proptest::prelude::*;

    use super::*;

    fn check(own: &[&str], target: &str, headers: &[(&str, &str)]) -> Result<(), Refusal> {
        let own = own.iter().map(|name| Hosts::check_name(name).expect("a name")).collect();
        let mut request = Request::get(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).expect("a request").into_parts();
        Hosts::new(own).check(&parts, false)
    }

    #[test]
    fn foreign_name_refused_and_address_accepted() {
        for host in [
            "127.0.0.1:9180",
            "10.0.0.1",
            "[::1]:9180",
            "localhost:9180",
            "LOCALHOST",
            "a.localhost",
        ] {
            assert_eq!(check(&[], "/", &[("host", host)]), Ok(()), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:9180",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "notlocalhost",
            "2130706433",
            "0x7f.1",
        ] {
            let refused = check(&[], "/", &[("host", host)]);
            assert!(matches!(refused, Err(Refusal::UnknownHost(_))), "{host}: {refused:?}");
        }
    }

    #[test]
    fn configured_names_accepted_in_any_case() {
        let own = ["tidegate.internal", "*.svc.cluster.local"];
        for host in ["Tidegate.Internal:9180", "tidegate.internal.", "a.b.svc.cluster.local"] {
            assert_eq!(check(&own, "/", &[("host", host)]), Ok(()), "{host}");
        }
        for host in ["x.tidegate.internal", "svc.cluster.local", "evilsvc.cluster.local"] {
            assert!(check(&own, "/", &[("host", host)]).is_err(), "{host}");
        }
    }

    #[test]
    fn tokens_replace_the_check_of_names() {
        let check = |names: &[&str], origin: Option<&str>| {
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            let mut request = Request::get("/").header("host", "tidegate:9180");
            if let Some(origin) = origin {
                request = request.header("origin", origin);
            }
            let (parts, ()) = request.body(()).expect("a request").into_parts();
            Hosts::new(names).check(&parts, true).is_ok()
        };
        assert!(check(&[], None));
        assert!(!check(&["tidegate.internal"], None), "configured names are always checked");
        assert!(!check(&[], Some("http://evil.example")), "and so are pages of other sites");
    }

    #[test]
    fn page_of_other_site_refused() {
        let origin = |origin| check(&[], "/", &[("host", "127.0.0.1:9180"), ("origin", origin)]);
        assert_eq!(origin("http://127.0.0.1:9180"), Ok(()));
        for foreign in [
            "http://evil.example",
            "null",
            "",
            "http://127.0.0.1",
            "http://127.0.0.1:8080",
            "http://127.0.0.1:9180.evil.example",
        ] {
            let refused = origin(foreign);
            assert!(matches!(refused, Err(Refusal::ForeignOrigin(_))), "{foreign}: {refused:?}");
        }
        let two = [
            ("host", "127.0.0.1"),
            ("origin", "http://127.0.0.1"),
            ("origin", "http://evil.example"),
        ];
        assert!(check(&[], "/", &two).is_err());
    }

    #[test]
    fn ambiguous_host_refused() {
        let malformed = |target: &str, headers: &[(&str, &str)]| {
            matches!(check(&[], target, headers), Err(Refusal::MalformedHost(_)))
        };
        assert!(malformed("/", &[]));
        assert!(malformed("/", &[("host", "")]));
        assert!(malformed("/", &[("host", "localhost"), ("host", "evil.example")]));
        assert!(malformed("/", &[("host", "evil.example@localhost")]));
        assert!(malformed("http://evil.example/", &[("host", "localhost")]));
        assert_eq!(check(&[], "http://localhost/", &[("host", "localhost")]), Ok(()));
    }

    #[test]
    fn host_with_scheme_or_port_rejected_in_configuration() {
        for wrong in ["http://x", "x:80", "*", "*.", "a..b", "", "a/b", "*.*.x"] {
            assert!(Hosts::check_name(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_other_name_accepted(name in "[a-z0-9.-]{1,40}") {
            let accepted = check(&[], "/", &[("host", &name)]).is_ok();
            let trimmed = name.strip_suffix('.').unwrap_or(&name);
            let own = is_address(trimmed) || trimmed == "localhost" || trimmed.ends_with(".localhost");
            prop_assert_eq!(accepted, own);
        }
    }
}
