//! The header changes that a proxy makes to messages in transit.

use std::net::IpAddr;

use http::header::{
    AUTHORIZATION, CONNECTION, COOKIE, EXPECT, FORWARDED, HOST, HeaderValue, IF_MATCH,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, RANGE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, VIA,
};
use http::{HeaderMap, HeaderName, Version};

use super::cache_control::CDN_CACHE_CONTROL;
use super::freshness::TIDEGATE_FRESHNESS;
use super::request_id::X_REQUEST_ID;
use super::ryw_token::TIDEGATE_WRITTEN;
use super::surrogate_key::SURROGATE_KEY;
use super::target::Scheme;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub(crate) const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Hop-by-hop fields: RFC 9110 §7.6.1, with the additions of RFC 9112 and of old clients.
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

/// Fields by which a client could make an application respond for a target other than the one in
/// the key, and so poison the page for other clients. Only a trusted proxy may set them.
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

/// Fields that make the upstream send a part, a 304, or a response that depends on the client's
/// state. A load requests the complete page.
const CONDITIONS: [HeaderName; 6] =
    [IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE, IF_RANGE, RANGE];

/// The client as the forwarding fields describe it to the upstream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client<'a> {
    pub(crate) address: IpAddr,
    pub(crate) scheme: Scheme,
    /// The host of the client's request.
    pub(crate) host: &'a HeaderValue,
    /// The name of this gateway in `Via`, beside "tidegate", by which it knows its own requests.
    pub(crate) via: &'a str,
    /// Whether the client is a trusted proxy, whose `X-Forwarded-For` is extended.
    pub(crate) trusted: bool,
}

/// Turns the client's request headers into those for the upstream. `host` becomes `Host`.
pub(crate) fn rewrite_request_headers(
    headers: &mut HeaderMap,
    version: Version,
    client: Client<'_>,
    host: &HeaderValue,
    request_id: &HeaderValue,
) {
    let accepts_trailers =
        list_members(headers, &TE).any(|coding| coding.eq_ignore_ascii_case("trailers"));
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
    headers.insert(X_REQUEST_ID, request_id.clone());
    if accepts_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.insert(CONNECTION, HeaderValue::from_static("te"));
    }
    let hop = format!("{} ({})", via(version), client.via);
    headers.append(VIA, HeaderValue::try_from(hop).expect("fixed text and hexadecimal digits"));
}

/// Removes the client's own fields from the request of a load whose response may be shared.
pub(crate) fn strip_client_headers(headers: &mut HeaderMap) {
    for name in &CONDITIONS {
        headers.remove(name);
    }
    headers.remove(AUTHORIZATION);
    // A stored page has no trailers.
    if headers.remove(TE).is_some() {
        headers.remove(CONNECTION);
    }
}

/// Turns the upstream's response headers into those for the client.
pub(crate) fn rewrite_response_headers(headers: &mut HeaderMap, version: Version) {
    remove_hop_by_hop(headers);
    headers.remove(SURROGATE_KEY);
    headers.remove(TIDEGATE_WRITTEN);
    headers.append(VIA, HeaderValue::from_static(via(version)));
}

/// Removes the fields that belong to one response only from a response to be stored. Applied after
/// [`rewrite_response_headers`].
pub(crate) fn strip_response_headers(headers: &mut HeaderMap) {
    for name in [
        TRAILER,
        http::header::AGE,
        http::header::CONTENT_LENGTH,
        X_REQUEST_ID,
        TIDEGATE_FRESHNESS,
        HeaderName::from_static("proxy-authentication-info"),
    ] {
        headers.remove(name);
    }
}

/// The number of Tidegate gateways that the request has passed.
pub(crate) fn tidegate_hops(headers: &HeaderMap) -> usize {
    headers
        .get_all(VIA)
        .iter()
        .filter_map(|via| via.to_str().ok())
        .map(|via| via.matches(" tidegate").count())
        .sum()
}

/// Whether the request has cookies.
pub(crate) fn has_cookies(headers: &HeaderMap) -> bool {
    headers.contains_key(COOKIE)
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = list_members(headers, &CONNECTION)
        .filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok())
        // `Connection` must not list end-to-end fields (RFC 9110 §7.6.1). Without this check,
        // `Connection: cookie` would make a private response look public.
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
        || *name == CDN_CACHE_CONTROL
}

/// The members of a comma-separated field.
pub(crate) fn list_members<'a>(
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
    HeaderValue::try_from(text).expect("addresses and visible ASCII form a header value")
}

/// The gateway's entry in `Via` (RFC 9110 §7.6.3).
fn via(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "2.0 tidegate",
        Version::HTTP_10 => "1.0 tidegate",
        _ => "1.1 tidegate",
    }
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

    fn rewritten(fields: &[(&'static str, &'static str)], trusted: bool) -> HeaderMap {
        let mut headers = headers(fields);
        let host = HeaderValue::from_static("shop.example");
        let (address, scheme) = ([192, 0, 2, 7].into(), Scheme::Http);
        let client = Client { address, scheme, host: &host, via: "1", trusted };
        let id = HeaderValue::from_static("id");
        rewrite_request_headers(&mut headers, Version::HTTP_11, client, &host, &id);
        headers
    }

    #[test]
    fn hop_by_hop_headers_removed() {
        let sent = rewritten(
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
        assert!(sent.contains_key("cookie"), "an end-to-end field listed in Connection stays");
        assert_eq!(sent["via"], "1.1 tidegate (1)");
    }

    #[test]
    fn untrusted_forwarding_headers_dropped() {
        let forged = [
            ("x-forwarded-for", "10.0.0.1"),
            ("x-forwarded-host", "evil.example"),
            ("x-original-url", "/admin"),
            ("x-rewrite-url", "/admin"),
            ("forwarded", "host=evil.example"),
        ];
        let headers = rewritten(&forged, false);
        assert_eq!(headers["x-forwarded-for"], "192.0.2.7");
        assert_eq!(headers["x-forwarded-host"], "shop.example");
        for name in ["x-original-url", "x-rewrite-url", "forwarded"] {
            assert!(!headers.contains_key(name), "{name}");
        }
        assert_eq!(rewritten(&forged, true)["x-forwarded-for"], "10.0.0.1, 192.0.2.7");
    }

    #[test]
    fn te_trailers_kept_other_te_removed() {
        assert_eq!(rewritten(&[("te", "trailers")], false)["te"], "trailers");
        assert!(!rewritten(&[("te", "gzip")], false).contains_key("te"));
    }
}
