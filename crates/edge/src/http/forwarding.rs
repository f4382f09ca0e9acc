//! The header changes that a proxy makes to messages in transit.

use http::header::{
    AUTHORIZATION, CONNECTION, COOKIE, EXPECT, FORWARDED, HOST, HeaderValue, IF_MATCH,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, RANGE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, VIA,
};
use http::{HeaderMap, HeaderName, Version};

use super::cache_control::CDN_CACHE_CONTROL;
use super::changes_at::TIDEGATE_CHANGES_AT;
use super::client::{
    Client, ForwardingHeaders, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO,
    forwarded_value, x_forwarded_for,
};
use super::freshness::TIDEGATE_FRESHNESS;
use super::request_id::X_REQUEST_ID;
use super::ryw_token::TIDEGATE_WRITTEN;
use super::surrogate_key::SURROGATE_KEY;
use super::target::Scheme;

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

/// Fields in which an application reads another target, method, address or scheme than those of the request.
/// The gateway sets some of them; the client's own never reach the upstream.
const ROUTING_OVERRIDES: [HeaderName; 22] = [
    FORWARDED,
    X_FORWARDED_FOR,
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

/// A request's origin, as the forwarding fields describe it to the upstream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestOrigin<'a> {
    pub(crate) client: &'a Client,
    pub(crate) scheme: Scheme,
    /// The host of the client's request.
    pub(crate) host: &'a HeaderValue,
    /// The name of this gateway in `Via`, beside "tidegate", by which it knows its own requests.
    pub(crate) via: &'a str,
    /// `Forwarded` is set where proxies in front of the gateway use it; `X-Forwarded-*` always.
    pub(crate) headers: ForwardingHeaders,
}

/// Turns the client's request headers into those for the upstream. `host` becomes `Host`.
pub(crate) fn rewrite_request_headers(
    headers: &mut HeaderMap,
    version: Version,
    origin: RequestOrigin<'_>,
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
    remove_lookalikes(headers);
    let RequestOrigin { client, scheme, host: client_host, .. } = origin;
    headers.insert(X_FORWARDED_FOR, field(x_forwarded_for(client)));
    headers.insert(X_FORWARDED_HOST, client_host.clone());
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(scheme.as_str()));
    if origin.headers == ForwardingHeaders::Forwarded {
        let client_host = client_host.to_str().unwrap_or_default();
        headers.insert(FORWARDED, field(forwarded_value(client, scheme, client_host)));
    }
    headers.insert(HOST, host.clone());
    headers.insert(X_REQUEST_ID, request_id.clone());
    if accepts_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.insert(CONNECTION, HeaderValue::from_static("te"));
    }
    let hop = format!("{} ({})", via(version), origin.via);
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
    headers.remove(TIDEGATE_CHANGES_AT);
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

/// Removes names such as `X_Forwarded_Host`: servers that hand headers to the application as variables do not
/// tell them from the fields that they look like.
fn remove_lookalikes(headers: &mut HeaderMap) {
    let is_lookalike = |name: &&HeaderName| {
        let text = name.as_str();
        text.contains('_') && {
            let meant = HeaderName::from_bytes(text.replace('_', "-").as_bytes());
            meant.is_ok_and(|meant| meant == HOST || meant == X_REQUEST_ID || is_own(&meant))
        }
    };
    let names: Vec<HeaderName> = headers.keys().filter(is_lookalike).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

/// Whether a field of a request belongs to each hop, or is set by the gateway, so that the client's own does not
/// reach the upstream.
pub(crate) fn is_own(name: &HeaderName) -> bool {
    HOP_BY_HOP.contains(name)
        || ROUTING_OVERRIDES.contains(name)
        || *name == VIA
        || *name == EXPECT
        || *name == TRAILER
}

/// Whether a field makes the upstream send a part, or nothing.
pub(crate) fn is_condition(name: &HeaderName) -> bool {
    CONDITIONS.contains(name)
}

fn field(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("addresses and hosts form a header value")
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

    fn rewritten(fields: &[(&'static str, &'static str)], kind: ForwardingHeaders) -> HeaderMap {
        let mut headers = headers(fields);
        let host = HeaderValue::from_static("shop.example");
        let client = Client { address: [192, 0, 2, 7].into(), proxies: vec![[10, 0, 0, 1].into()] };
        let scheme = Scheme::Https;
        let origin =
            RequestOrigin { client: &client, scheme, host: &host, via: "1", headers: kind };
        let id = HeaderValue::from_static("id");
        rewrite_request_headers(&mut headers, Version::HTTP_11, origin, &host, &id);
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
            ForwardingHeaders::XForwarded,
        );
        for name in ["connection", "x-mine", "keep-alive"] {
            assert!(!sent.contains_key(name), "{name}");
        }
        assert!(sent.contains_key("cookie"), "an end-to-end field listed in Connection stays");
        assert_eq!(sent["via"], "1.1 tidegate (1)");
    }

    #[test]
    fn forged_forwarding_headers_dropped() {
        let forged = [
            ("x-forwarded-for", "10.0.0.1"),
            ("x-forwarded-host", "evil.example"),
            ("x_forwarded_host", "evil.example"),
            ("x-forwarded_for", "10.0.0.1"),
            ("x-original-url", "/admin"),
            ("x_rewrite_url", "/admin"),
            ("forwarded", "host=evil.example"),
            ("api_key", "k"),
        ];
        let sent = rewritten(&forged, ForwardingHeaders::XForwarded);
        assert_eq!(sent["x-forwarded-for"], "192.0.2.7, 10.0.0.1");
        assert_eq!(sent["x-forwarded-host"], "shop.example");
        assert_eq!(sent["x-forwarded-proto"], "https");
        for name in
            ["x_forwarded_host", "x-forwarded_for", "x-original-url", "x_rewrite_url", "forwarded"]
        {
            assert!(!sent.contains_key(name), "{name}");
        }
        assert_eq!(sent["api_key"], "k");
        let sent = rewritten(&forged, ForwardingHeaders::Forwarded);
        let expected = "for=192.0.2.7;proto=https;host=\"shop.example\", for=10.0.0.1";
        assert_eq!(sent["forwarded"], expected);
    }

    #[test]
    fn te_trailers_kept_other_te_removed() {
        let kind = ForwardingHeaders::XForwarded;
        assert_eq!(rewritten(&[("te", "trailers")], kind)["te"], "trailers");
        assert!(!rewritten(&[("te", "gzip")], kind).contains_key("te"));
    }
}
