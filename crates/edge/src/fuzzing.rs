//! Entry points of fuzz tests: the parsers of foreign bytes, with their invariants.

use std::net::{IpAddr, Ipv4Addr};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::http::client::{self, ForwardingHeaders};
use crate::http::encodings::Encodings;
use crate::http::target::{Scheme, normalize_host};
use crate::http::{cache_control, cookie_fields, path, ryw_token, surrogate_key};
use crate::page_cache::storability::{self, RequestContext};
use crate::page_cache::stored_head;
use crate::server::proxy_header::{self, Step};

/// The most lines of a head, which hyper limits too.
const LINES_MAX: usize = 128;

/// Reads the head of a message: the target in the first line, and a header in each other line.
///
/// # Panics
/// Where an invariant does not hold.
pub fn head(bytes: &[u8]) {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    if let Some(Ok(target)) = lines.next().map(std::str::from_utf8) {
        check_target(target);
    }
    let mut headers = HeaderMap::new();
    for line in lines.take(LINES_MAX) {
        let (name, value) = line.split_at(line.iter().position(|b| *b == b':').unwrap_or(0));
        let value = HeaderValue::from_bytes(value.get(1..).unwrap_or_default().trim_ascii());
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), value) {
            headers.append(name, value);
        }
    }
    check_headers(headers);
}

fn check_target(target: &str) {
    if target.starts_with('/')
        && let Ok(normal) = path::normalize_target(target)
    {
        let again = path::normalize_target(&normal).expect("a normal form is a target");
        assert_eq!(normal, again, "a normal form has itself as its normal form");
    }
    let _ = path::readings(path::path_of(target));
    if let Some(host) = normalize_host(target, Scheme::Https) {
        assert!(normalize_host(&host, Scheme::Https).is_some(), "a normal form is a host");
    }
}

fn check_headers(mut headers: HeaderMap) {
    const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    for kind in [ForwardingHeaders::XForwarded, ForwardingHeaders::Forwarded] {
        let described = client::describe(&headers, kind, PEER, |address| address.is_loopback());
        let value = client::forwarded_value(&described.client, Scheme::Https, "shop");
        HeaderValue::from_str(&value).expect("a value of a header");
        HeaderValue::from_str(&client::x_forwarded_for(&described.client)).expect("the same");
    }
    let _ = Encodings::accepted(&headers.get_all("accept-encoding"));
    let _ = (cache_control::age(&headers), cache_control::expires_in(&headers, 1_800_000_000));
    let _ = ryw_token::from_header(&headers);
    let _ = surrogate_key::tags(&headers, 8);
    cookie_fields::join(&mut headers);
    assert!(headers.get_all("cookie").iter().count() <= 1);
    let context = RequestContext { keyed: &[], cookies: true, now_s: 1_800_000_000, max_tags: 8 };
    let stored = storability::evaluate(StatusCode::OK, &headers, context);
    if let Ok(storable) = stored {
        assert!(!headers.contains_key("set-cookie"), "a cookie of one client is not for others");
        assert!(storable.tags.len() <= 8 && !storable.lifetime.is_zero());
    }
}

/// Reads the head of a stored page, as another node or Redis gives it.
pub fn stored_page(bytes: &[u8]) {
    let head = bytes::Bytes::copy_from_slice(bytes);
    let _ = stored_head::decode_joint(&head);
    let _ = stored_head::decode(&head, 8);
}

/// Reads a PROXY header as it arrives.
///
/// # Panics
/// Where an invariant does not hold.
pub fn proxy_header(bytes: &[u8]) {
    let mut read = 0;
    loop {
        match proxy_header::step(&bytes[..read]) {
            Ok(Step::Read(more)) => {
                assert!(more > 0, "an end");
                if read + more > bytes.len() {
                    return;
                }
                read += more;
            }
            Ok(Step::Done(_)) | Err(_) => return,
        }
    }
}
