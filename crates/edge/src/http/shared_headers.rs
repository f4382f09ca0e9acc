//! The request headers of a load whose response may be shared.
//!
//! A header that is not in the key must not shape a shared response: a client could choose the page of all
//! others with it. So such a load has the headers of the key, and a fixed list of headers that all browsers send.
//! An application that negotiates by one of these says so in `Vary`, and its response is not stored unless the
//! header is in the key. All other headers are unknown: some framework obeys any of them.

use http::header::{
    ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, CACHE_CONTROL, CONTENT_LENGTH, COOKIE, DATE, DNT,
    FROM, HOST, MAX_FORWARDS, PRAGMA, REFERER, UPGRADE_INSECURE_REQUESTS, USER_AGENT, VARY,
};
use http::{HeaderMap, HeaderName};

use super::forwarding::{is_condition, is_own};
use super::request_id::X_REQUEST_ID;

/// Sent with a load. Cookies have a rule of their own: the response to them is shared only if it says so.
const SENT: [HeaderName; 4] = [ACCEPT, ACCEPT_LANGUAGE, COOKIE, USER_AGENT];

/// Not sent with a load. Its response serves a client with these headers nevertheless, also where it is for this
/// client only: they describe the way of the request, or the client's cache.
const IRRELEVANT: [HeaderName; 17] = [
    CACHE_CONTROL,
    CONTENT_LENGTH,
    DATE,
    DNT,
    FROM,
    MAX_FORWARDS,
    PRAGMA,
    REFERER,
    UPGRADE_INSECURE_REQUESTS,
    HeaderName::from_static("b3"),
    HeaderName::from_static("baggage"),
    HeaderName::from_static("priority"),
    HeaderName::from_static("purpose"),
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
    HeaderName::from_static("x-amzn-trace-id"),
    HeaderName::from_static("x-cloud-trace-context"),
];

/// Prefixes of such headers: of fetch metadata and client hints, and of traces.
const IRRELEVANT_PREFIXES: [&str; 2] = ["sec-", "x-b3-"];

/// The headers that a load sends, of those of a request. `keyed`: the headers in the key.
pub(crate) fn of_load(request: &HeaderMap, keyed: &[HeaderName]) -> HeaderMap {
    let is_sent = |name: &HeaderName| is_sent(name, keyed);
    let sent = request.iter().filter(|(name, _)| is_sent(name));
    let mut headers = HeaderMap::new();
    for (name, value) in sent {
        headers.append(name, value.clone());
    }
    headers
}

/// The headers of a request that are in the key.
pub(crate) fn of_key(request: &HeaderMap, keyed: &[HeaderName]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for name in keyed {
        for value in request.get_all(name) {
            headers.append(name, value.clone());
        }
    }
    headers
}

/// Whether a request has headers that a load does not send and that may shape its response.
pub(crate) fn has_others(request: &HeaderMap, keyed: &[HeaderName]) -> bool {
    request.keys().any(|name| !is_sent(name, keyed) && !is_irrelevant(name))
}

/// Whether a response depends, by its `Vary`, on a header of the request that its load did not send.
pub(crate) fn varies_by_unsent(
    response: &HeaderMap,
    request: &HeaderMap,
    keyed: &[HeaderName],
) -> bool {
    let fields = response.get_all(VARY).iter().filter_map(|field| field.to_str().ok());
    let mut names = fields.flat_map(|field| field.split(',')).map(str::trim);
    names.any(|name| {
        let name = HeaderName::from_bytes(name.as_bytes());
        name.is_ok_and(|name| {
            name != ACCEPT_ENCODING && request.contains_key(&name) && !is_sent(&name, keyed)
        })
    })
}

fn is_sent(name: &HeaderName, keyed: &[HeaderName]) -> bool {
    SENT.contains(name) || keyed.contains(name)
}

fn is_irrelevant(name: &HeaderName) -> bool {
    let text = name.as_str();
    IRRELEVANT.contains(name)
        || IRRELEVANT_PREFIXES.iter().any(|prefix| text.starts_with(prefix))
        || *name == ACCEPT_ENCODING
        || *name == HOST
        || *name == X_REQUEST_ID
        // Neither of them reaches the upstream as the client has sent it.
        || is_own(name)
        || is_condition(name)
}

/// The reason why a header can't be in a key; `None`: it can.
pub(crate) fn key_problem(name: &HeaderName) -> Option<&'static str> {
    if *name == COOKIE || *name == http::header::AUTHORIZATION {
        return Some("differs for each client; use `store = false`");
    }
    let is_handled = *name == ACCEPT_ENCODING || *name == HOST || *name == X_REQUEST_ID;
    if is_handled || is_own(name) || is_condition(name) {
        return Some("is not forwarded as the client sends it");
    }
    None
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let field = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        fields.iter().map(field).collect()
    }

    const BROWSER: [(&str, &str); 17] = [
        ("host", "shop"),
        ("connection", "keep-alive"),
        ("cache-control", "max-age=0"),
        ("sec-ch-ua", "\"Chromium\""),
        ("sec-ch-ua-mobile", "?0"),
        ("upgrade-insecure-requests", "1"),
        ("user-agent", "Mozilla/5.0"),
        ("accept", "text/html"),
        ("sec-fetch-site", "none"),
        ("referer", "https://shop/"),
        ("accept-encoding", "gzip"),
        ("accept-language", "de"),
        ("cookie", "a=b"),
        ("priority", "u=0, i"),
        ("if-none-match", "\"a\""),
        ("dnt", "1"),
        ("te", "trailers"),
    ];

    #[test]
    fn ordinary_browser_has_no_others() {
        assert!(!has_others(&map(&BROWSER), &[]));
        let sent = of_load(&map(&BROWSER), &[]);
        let mut names: Vec<&str> = sent.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["accept", "accept-language", "cookie", "user-agent"]);
    }

    #[test]
    fn unknown_header_never_sent() {
        for name in [
            "x_forwarded_host",
            "x-host-override",
            "x-requested-with",
            "rsc",
            "origin",
            "x-api-key",
        ] {
            let headers = map(&[(name, "evil")]);
            assert!(has_others(&headers, &[]), "{name}");
            assert!(of_load(&headers, &[]).is_empty(), "{name}");
            let keyed = [HeaderName::from_static(name)];
            assert!(!has_others(&headers, &keyed), "{name}");
            assert_eq!(of_load(&headers, &keyed), headers, "{name}");
        }
    }

    #[test]
    fn vary_by_unsent_header_found() {
        let request = map(&[("referer", "a"), ("accept", "b"), ("rsc", "1")]);
        for (vary, expected) in [
            ("accept-encoding", false),
            ("accept, accept-encoding", false),
            ("RSC", true),
            ("accept, referer", true),
            ("origin", false),
            ("*", false),
        ] {
            let response = map(&[("vary", vary)]);
            assert_eq!(varies_by_unsent(&response, &request, &[]), expected, "{vary}");
        }
        let keyed = [HeaderName::from_static("rsc")];
        assert!(!varies_by_unsent(&map(&[("vary", "rsc")]), &request, &keyed));
    }
}
