//! What a request asks for: a page by its key, or to be handed through.

use std::borrow::Cow;

use contract::Key;
use http::header::{ACCEPT_ENCODING, EXPECT, HOST, UPGRADE};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Version};
use http_body::Body as _;
use hyper::body::Incoming;

use super::Shared;
use crate::error::EdgeError;
use crate::forward;
use crate::key::{self, Encodings, Scheme};
use crate::noted::Noted;
use crate::ready;
use crate::routes::Route;

/// More rounds than this through gateways like us is a loop.
const MAX_PASSES: usize = 8;

/// What is to be done with a request.
pub(super) enum Plan {
    /// Look for it in the store.
    Page(Page),
    /// Hand it through; the word says why in `Cache-Status`.
    Pass(&'static str),
}

pub(super) struct Page {
    pub(super) key: Key,
    pub(super) encodings: Encodings,
    /// Whether the store is filled by it, or only asked.
    pub(super) load: bool,
    /// Path and query in their normal form, where that is another.
    pub(super) target: Option<PathAndQuery>,
}

impl Shared {
    pub(super) fn check(&self, request: &Request<Incoming>, noted: Noted) -> Result<(), EdgeError> {
        let headers = request.headers();
        let method = request.method();
        if matches!(*method, Method::CONNECT | Method::TRACE) {
            return Err(EdgeError::Method(method.clone()));
        }
        // Any other protocol may be ignored (RFC 9110 §7.8): curl asks for h2c by itself.
        if noted.any(Noted::UPGRADE)
            && forward::names(headers, &UPGRADE).any(|name| name.eq_ignore_ascii_case("websocket"))
        {
            return Err(EdgeError::Upgrade);
        }
        if noted.any(Noted::EXPECT)
            && headers
                .get(EXPECT)
                .is_some_and(|what| !what.as_bytes().eq_ignore_ascii_case(b"100-continue"))
        {
            return Err(EdgeError::Expectation);
        }
        if noted.any(Noted::VIA) && forward::passes(headers) > MAX_PASSES {
            return Err(EdgeError::Loop);
        }
        Ok(())
    }

    pub(super) fn scheme(&self, headers: &HeaderMap) -> Scheme {
        let said = || headers.get(forward::X_FORWARDED_PROTO).map(HeaderValue::as_bytes);
        if self.options.trust_forwarded && said() == Some(b"https") {
            Scheme::Https
        } else {
            Scheme::Http
        }
    }

    /// The host that the request is for: of an absolute target, or else of the one `Host` header
    /// (RFC 9112 §3.2).
    pub(super) fn host<'a>(
        &'a self,
        request: &'a Request<Incoming>,
        noted: Noted,
        scheme: Scheme,
    ) -> Result<Cow<'a, str>, EdgeError> {
        if noted.any(Noted::HOSTS) {
            return Err(EdgeError::Host);
        }
        let host = match (request.uri().authority(), request.headers().get(HOST)) {
            (Some(authority), _) => authority.as_str(),
            (None, Some(host)) => host.to_str().map_err(|_| EdgeError::Host)?,
            (None, None) if request.version() == Version::HTTP_10 => {
                self.upstream.host().to_str().map_err(|_| EdgeError::Host)?
            }
            (None, None) => return Err(EdgeError::Host),
        };
        let host = key::normal_host(host, scheme).ok_or(EdgeError::Host)?;
        let hosts = &self.options.hosts;
        if !hosts.is_empty() && !hosts.iter().any(|known| *known == host) {
            return Err(EdgeError::UnknownHost);
        }
        Ok(host)
    }

    /// Whether the store is asked. A client's own `no-cache` and `no-store` are not listened to: a
    /// cache that protects an upstream can't let every client decide to go there.
    pub(super) fn plan(
        &self,
        request: &Request<Incoming>,
        noted: Noted,
        scheme: Scheme,
        host: &str,
    ) -> Plan {
        let headers = request.headers();
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Plan::Pass("method");
        }
        // A body may shape the answer and is not in the key.
        if !request.body().is_end_stream() || request.uri().path() == "*" {
            return Plan::Pass("request");
        }
        if noted.any(Noted::AUTHORIZATION) {
            return Plan::Pass("bypass; detail=authorization");
        }
        if noted.any(Noted::CONDITION) {
            return Plan::Pass("request");
        }
        let raw = request.uri().path_and_query().map_or("/", PathAndQuery::as_str);
        let target = key::normal_target(raw);
        let other = match &target {
            Cow::Borrowed(_) => None,
            Cow::Owned(target) => match PathAndQuery::try_from(target.as_str()) {
                Ok(target) => Some(target),
                Err(_) => return Plan::Pass("request"),
            },
        };
        let end = target.bytes().position(|byte| byte == b'?').unwrap_or(target.len());
        let path = &target[..end];
        if !self.options.routes.of(path).store {
            return Plan::Pass("bypass; detail=route");
        }
        let encodings = if noted.any(Noted::ACCEPT_ENCODING) {
            Encodings::accepted(&headers.get_all(ACCEPT_ENCODING))
        } else {
            Encodings::default()
        };
        Plan::Page(Page {
            key: ready::key(scheme, host, &target, encodings),
            encodings,
            load: *request.method() == Method::GET && !noted.any(Noted::RANGE),
            target: other,
        })
    }

    pub(super) fn route(&self, page: &Page, request: &Request<Incoming>) -> &Route {
        let path = page.target.as_ref().map_or_else(|| request.uri().path(), PathAndQuery::path);
        self.options.routes.of(path)
    }
}
