//! What changes in a message when it passes through us.

use std::net::IpAddr;

use http::header::{
    AUTHORIZATION, CONNECTION, COOKIE, EXPECT, FORWARDED, HOST, HeaderValue, IF_MATCH,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, RANGE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, VIA,
};
use http::{HeaderMap, HeaderName, Version};

use crate::key::Scheme;
use crate::storable::SURROGATE_KEY;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub(crate) const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// RFC 9110 §7.6.1, and what RFC 9112 and old clients add to it.
const HOP_BY_HOP: [HeaderName; 8] = [
    CONNECTION,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// Headers by which a client could make an application answer another question than the one in
/// the key, and so plant the answer in front of others. Only a proxy may say these things.
const ROUTING_OVERRIDES: [HeaderName; 21] = [
    FORWARDED,
    X_FORWARDED_HOST,
    X_FORWARDED_PROTO,
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-forwarded-prefix"),
    HeaderName::from_static("x-forwarded-path"),
    HeaderName::from_static("x-forwarded-scheme"),
    HeaderName::from_static("x-forwarded-ssl"),
    HeaderName::from_static("x-forwarded-server"),
    HeaderName::from_static("x-original-url"),
    HeaderName::from_static("x-original-host"),
    HeaderName::from_static("x-original-uri"),
    HeaderName::from_static("x-rewrite-url"),
    HeaderName::from_static("x-host"),
    HeaderName::from_static("x-real-ip"),
    HeaderName::from_static("x-http-host-override"),
    HeaderName::from_static("x-http-method"),
    HeaderName::from_static("x-http-method-override"),
    HeaderName::from_static("x-method-override"),
    HeaderName::from_static("front-end-https"),
    HeaderName::from_static("base-url"),
];

/// Headers that would make the upstream answer with a part, or with "not modified", or by what
/// only this client knows. A load that may be stored asks for the whole.
const CONDITIONS: [HeaderName; 6] =
    [IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE, IF_RANGE, RANGE];

/// Who asked, as far as the upstream is told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client<'a> {
    pub(crate) address: IpAddr,
    pub(crate) scheme: Scheme,
    /// The host that the client named.
    pub(crate) host: &'a HeaderValue,
    /// Whether the client is a proxy of ours, whose word on its own client is taken.
    pub(crate) trusted: bool,
}

/// Makes the client's request headers fit to be sent upstream; `host` is the one to name there.
pub(crate) fn to_upstream(
    headers: &mut HeaderMap,
    version: Version,
    client: Client<'_>,
    host: &HeaderValue,
    request_id: &HeaderValue,
) {
    let takes_trailers = names(headers, &TE).any(|coding| coding.eq_ignore_ascii_case("trailers"));
    remove_hop_by_hop(headers);
    headers.remove(EXPECT);
    for name in &ROUTING_OVERRIDES {
        headers.remove(name);
    }
    let before = headers.remove(X_FORWARDED_FOR).filter(|_| client.trusted);
    headers.insert(X_FORWARDED_FOR, forwarded_for(before.as_ref(), client.address));
    headers.insert(X_FORWARDED_HOST, client.host.clone());
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(client.scheme.as_str()));
    headers.insert(HOST, host.clone());
    headers.insert(crate::request_id::X_REQUEST_ID, request_id.clone());
    if takes_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.insert(CONNECTION, HeaderValue::from_static("te"));
    }
    headers.append(VIA, via(version));
}

/// Takes off a request what a load in everybody's name must not carry.
pub(crate) fn impersonal(headers: &mut HeaderMap) {
    for name in &CONDITIONS {
        headers.remove(name);
    }
    headers.remove(AUTHORIZATION);
    // Nobody is there to take them.
    if headers.remove(TE).is_some() {
        headers.remove(CONNECTION);
    }
}

/// Makes the upstream's response headers fit to be sent to the client.
pub(crate) fn to_client(headers: &mut HeaderMap, version: Version) {
    remove_hop_by_hop(headers);
    headers.remove(SURROGATE_KEY);
    headers.remove(crate::token::TIDEGATE_WRITTEN);
    headers.append(VIA, via(version));
}

/// Takes off a response what must not be replayed to others; on top of [`to_client`].
pub(crate) fn impersonal_answer(headers: &mut HeaderMap) {
    for name in [
        TRAILER,
        http::header::AGE,
        http::header::CONTENT_LENGTH,
        crate::request_id::X_REQUEST_ID,
        crate::proof::TIDEGATE_FRESHNESS,
        HeaderName::from_static("proxy-authentication-info"),
    ] {
        headers.remove(name);
    }
}

/// How often the request has been through a Tidegate.
pub(crate) fn passes(headers: &HeaderMap) -> usize {
    headers
        .get_all(VIA)
        .iter()
        .filter_map(|via| via.to_str().ok())
        .map(|via| via.matches(" tidegate").count())
        .sum()
}

/// Whether a request says who its client is.
pub(crate) fn has_cookies(headers: &HeaderMap) -> bool {
    headers.contains_key(COOKIE)
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = names(headers, &CONNECTION)
        .filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok())
        // A client can't have our own or end-to-end framing headers taken off (RFC 9110 §7.6.1
        // forbids to name them); without this, `Connection: cookie` would make a private answer
        // look public.
        .filter(|name| !is_end_to_end(name))
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

fn is_end_to_end(name: &HeaderName) -> bool {
    use http::header as h;
    [
        &h::HOST,
        &h::COOKIE,
        &h::AUTHORIZATION,
        &h::CONTENT_LENGTH,
        &h::CONTENT_TYPE,
        &h::CONTENT_ENCODING,
        &h::CACHE_CONTROL,
        &h::SET_COOKIE,
        &h::VARY,
        &h::EXPIRES,
        &h::DATE,
        &h::AGE,
        &h::ETAG,
        &h::LAST_MODIFIED,
        &h::LOCATION,
        &h::VIA,
    ]
    .contains(&name)
        || *name == SURROGATE_KEY
        || *name == crate::storable::CDN_CACHE_CONTROL
}

/// The members of a comma-separated header.
pub(crate) fn names<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|member| !member.is_empty())
}

fn forwarded_for(before: Option<&HeaderValue>, address: IpAddr) -> HeaderValue {
    let address = address.to_canonical();
    let text = match before.and_then(|before| before.to_str().ok()) {
        Some(before) => format!("{before}, {address}"),
        None => address.to_string(),
    };
    HeaderValue::try_from(text).expect("addresses and visible text are a header value")
}

/// RFC 9110 §7.6.3.
fn via(version: Version) -> HeaderValue {
    HeaderValue::from_static(match version {
        Version::HTTP_2 => "2.0 tidegate",
        Version::HTTP_10 => "1.0 tidegate",
        _ => "1.1 tidegate",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let field = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        fields.iter().map(field).collect()
    }

    fn sent(fields: &[(&'static str, &'static str)], trusted: bool) -> HeaderMap {
        let mut headers = headers(fields);
        let host = HeaderValue::from_static("shop.example");
        let client =
            Client { address: [192, 0, 2, 7].into(), scheme: Scheme::Http, host: &host, trusted };
        to_upstream(&mut headers, Version::HTTP_11, client, &host, &HeaderValue::from_static("id"));
        headers
    }

    #[test]
    fn hop_by_hop_headers_stay_on_their_hop() {
        let sent = sent(
            &[
                ("connection", "close, X-Mine, cookie"),
                ("x-mine", "1"),
                ("keep-alive", "9"),
                ("cookie", "a"),
            ],
            false,
        );
        for name in ["connection", "x-mine", "keep-alive"] {
            assert!(!sent.contains_key(name), "{name}");
        }
        assert!(sent.contains_key("cookie"), "an end-to-end header can't be named away");
        assert_eq!(sent["via"], "1.1 tidegate");
    }

    #[test]
    fn a_client_can_not_speak_for_a_proxy() {
        let lies = [
            ("x-forwarded-for", "10.0.0.1"),
            ("x-forwarded-host", "evil.example"),
            ("x-original-url", "/admin"),
            ("x-rewrite-url", "/admin"),
            ("forwarded", "host=evil.example"),
        ];
        let headers = sent(&lies, false);
        assert_eq!(headers["x-forwarded-for"], "192.0.2.7");
        assert_eq!(headers["x-forwarded-host"], "shop.example");
        for name in ["x-original-url", "x-rewrite-url", "forwarded"] {
            assert!(!headers.contains_key(name), "{name}");
        }
        assert_eq!(sent(&lies, true)["x-forwarded-for"], "10.0.0.1, 192.0.2.7");
    }

    #[test]
    fn trailers_are_asked_for_only_if_the_client_takes_them() {
        assert_eq!(sent(&[("te", "trailers")], false)["te"], "trailers");
        assert!(!sent(&[("te", "gzip")], false).contains_key("te"));
    }
}
