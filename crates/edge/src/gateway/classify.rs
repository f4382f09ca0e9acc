//! Classification of requests: a page with its key, or a pass to the upstream.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use contract::Key;
use http::header::{ACCEPT_ENCODING, EXPECT, HOST, UPGRADE};
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Request, Version};
use http_body::Body as _;
use hyper::body::Incoming;

use super::error::GatewayError;
use super::inner::GatewayInner;
use crate::http::client::{Client, Described, Peer, describe};
use crate::http::encodings::Encodings;
use crate::http::forwarding::{list_members, tidegate_hops};
use crate::http::header_set::HeaderSet;
use crate::http::path::{normalize_target, path_of};
use crate::http::target::{Scheme, normalize_host};
use crate::http::tunnel::is_websocket;
use crate::page_cache::{key, thread_cache};
use crate::settings::routes::Route;

/// A request that has passed more gateways than this is in a loop.
const MAX_HOPS: usize = 8;

/// The reason in `Cache-Status` of a request that becomes a WebSocket.
pub(super) const WEBSOCKET: &str = "request; detail=websocket";

/// The way of a request through the gateway.
pub(super) enum Classification {
    /// A page: look it up in the cache.
    Page(PageRequest),
    /// Pass to the upstream; the text is the reason in `Cache-Status`.
    Pass(&'static str),
}

/// A request for a page.
pub(super) struct PageRequest {
    pub(super) key: Key,
    pub(super) encodings: Encodings,
    /// Whether a miss loads the page into the cache. Otherwise a miss is a pass.
    pub(super) may_load: bool,
}

/// A classified request.
pub(super) struct Classified<'g> {
    pub(super) route: &'g Arc<Route>,
    pub(super) classification: Classification,
    /// Path and query in their normal form; `None`: as in the request.
    pub(super) target: Option<PathAndQuery>,
}

impl GatewayInner {
    pub(super) fn validate(
        &self,
        request: &Request<Incoming>,
        present: HeaderSet,
    ) -> Result<(), GatewayError> {
        let headers = request.headers();
        let method = request.method();
        if matches!(*method, Method::CONNECT | Method::TRACE) {
            return Err(GatewayError::Method(method.clone()));
        }
        // `GET foo` is parsed as an authority, which only CONNECT has (RFC 9112 §3.2.3).
        if request.uri().scheme().is_none() && request.uri().authority().is_some() {
            return Err(GatewayError::Target);
        }
        // Other protocols may be ignored (RFC 9110 §7.8): curl offers h2c by default.
        if present.any(HeaderSet::UPGRADE)
            && list_members(headers, &UPGRADE).any(|name| name.eq_ignore_ascii_case("websocket"))
            && !is_websocket(request)
        {
            return Err(GatewayError::Upgrade);
        }
        if present.any(HeaderSet::EXPECT)
            && headers
                .get(EXPECT)
                .is_some_and(|expected| !expected.as_bytes().eq_ignore_ascii_case(b"100-continue"))
        {
            return Err(GatewayError::Expectation);
        }
        if present.any(HeaderSet::VIA)
            && (self.gate.is_own_request(headers) || tidegate_hops(headers) > MAX_HOPS)
        {
            return Err(GatewayError::Loop);
        }
        Ok(())
    }

    /// The origin of a request: the peer, or as a trusted proxy describes it.
    pub(super) fn origin(&self, headers: &HeaderMap, present: HeaderSet, peer: Peer) -> Described {
        let proxies = &self.options.proxies;
        if !proxies.trusts(peer.address) {
            if present.any(HeaderSet::FORWARDED) && is_private(peer.address) {
                self.report_unknown_proxy(peer.address);
            }
            let client = Client::direct(peer.address);
            return Described { client, scheme: None, host: None };
        }
        let trusts = |address| proxies.trusts(address);
        let described = describe(headers, proxies.headers, peer.address, trusts);
        Described { host: described.host.filter(|_| proxies.forwarded_host), ..described }
    }

    /// Tells the operator once that a neighbour describes clients and is not trusted: probably a proxy that the
    /// configuration does not name.
    fn report_unknown_proxy(&self, peer: IpAddr) {
        if !self.has_seen_unknown_proxy.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                %peer,
                "requests come with X-Forwarded-For or Forwarded, which is ignored; if this is your proxy, name it \
                 in edge.trusted_proxies: else all clients share its address and scheme"
            );
        }
    }

    /// The normal form of the request's host: the one that a trusted proxy has `forwarded`, else that of an
    /// absolute target, else of the one `Host` header (RFC 9112 §3.2).
    pub(super) fn host<'a>(
        &'a self,
        request: &'a Request<Incoming>,
        present: HeaderSet,
        scheme: Scheme,
        forwarded: Option<&'a str>,
    ) -> Result<Cow<'a, str>, GatewayError> {
        if present.any(HeaderSet::DUPLICATE_HOST) {
            return Err(GatewayError::Host);
        }
        let named = (request.uri().authority(), request.headers().get(HOST));
        let host = match named {
            _ if forwarded.is_some() => forwarded.unwrap_or_default(),
            (Some(authority), _) => authority.as_str(),
            (None, Some(host)) => host.to_str().map_err(|_| GatewayError::Host)?,
            (None, None) if request.version() == Version::HTTP_10 => {
                self.gate.upstream_host().to_str().map_err(|_| GatewayError::Host)?
            }
            (None, None) => return Err(GatewayError::Host),
        };
        let host = normalize_host(host, scheme).ok_or(GatewayError::Host)?;
        if !self.options.proxies.serves(&host) {
            return Err(GatewayError::UnknownHost);
        }
        Ok(host)
    }

    /// Classifies a request, and resolves its route.
    ///
    /// A client's own `no-cache` and `no-store` are ignored: a cache that protects an upstream can't
    /// let every client bypass it.
    ///
    /// # Errors
    /// [`GatewayError::Path`]: the target has no normal form.
    pub(super) fn classify(
        &self,
        request: &Request<Incoming>,
        present: HeaderSet,
        scheme: Scheme,
        host: &str,
    ) -> Result<Classified<'_>, GatewayError> {
        let raw = request.uri().path_and_query().map_or("/", PathAndQuery::as_str);
        let normal = normalize_target(raw)?;
        let route = self.options.routes.resolve(path_of(&normal));
        let pass_reason = pass_reason(request, present, route);
        // Other requests, such as a signed callback, keep the query that the client has sent.
        let normal = if pass_reason.is_none() { route.query.apply(normal) } else { normal };
        let target = match &normal {
            Cow::Borrowed(_) => None,
            Cow::Owned(text) => {
                Some(PathAndQuery::try_from(text.as_str()).map_err(|_| GatewayError::Target)?)
            }
        };
        if let Some(reason) = pass_reason {
            let classification = Classification::Pass(reason);
            return Ok(Classified { route, classification, target });
        }
        let headers = request.headers();
        let encodings = if present.any(HeaderSet::ACCEPT_ENCODING) {
            Encodings::accepted(&headers.get_all(ACCEPT_ENCODING))
        } else {
            Encodings::default()
        };
        let key = if route.key_headers.is_empty() {
            thread_cache::page_key(scheme, host, &normal, encodings)
        } else {
            let variant = key::variant(headers, &route.key_headers);
            key::keyed_page_key(scheme, host, &normal, encodings, &variant)
        };
        let may_load = *request.method() == Method::GET && !present.any(HeaderSet::RANGE);
        let classification = Classification::Page(PageRequest { key, encodings, may_load });
        Ok(Classified { route, classification, target })
    }
}

/// Whether an address is one of a private network.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_private() || address.is_loopback(),
        IpAddr::V6(address) => address.is_unique_local() || address.is_loopback(),
    }
}

/// The reason why a request is not a page; `None`: it is a page.
fn pass_reason(
    request: &Request<Incoming>,
    present: HeaderSet,
    route: &Route,
) -> Option<&'static str> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Some("method");
    }
    if present.any(HeaderSet::UPGRADE) && is_websocket(request) {
        return Some(WEBSOCKET);
    }
    // A body may shape the response and is not in the key.
    if !request.body().is_end_stream() || request.uri().path() == "*" {
        return Some("request");
    }
    if present.any(HeaderSet::AUTHORIZATION) {
        return Some("bypass; detail=authorization");
    }
    if present.any(HeaderSet::PRECONDITION) {
        return Some("request");
    }
    (!route.store).then_some("bypass; detail=route")
}
