//! The first step of a request: responses from memory and refusals, without waiting.

use std::sync::Arc;

use cache::{Answer, Content};
use coherence::Mono;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, Response, request};
use http_body::Body as _;
use hyper::body::Incoming;

use super::classify::{Classification, Classified, PageRequest};
use super::error::GatewayError;
use super::inner::{GatewayInner, LogTokens};
use crate::http::body::Body;
use crate::http::client::{Client, Described, Peer};
use crate::http::header_set::HeaderSet;
use crate::http::target::Scheme;
use crate::http::{cookie_fields, ryw_token, shared_headers};
use crate::page_audit::PageSample;
use crate::page_cache::response::stored_page;
use crate::page_cache::stored_head;
use crate::settings::routes::Route;
use crate::telemetry::metrics::Outcome;

/// A response, or the request that is still to be served.
pub(crate) enum Dispatch {
    Ready(Response<Body>),
    Pending(Box<PendingRequest>),
}

/// A request that is not served from memory.
pub(crate) struct PendingRequest {
    pub(super) caller: Caller,
    pub(super) route: Arc<Route>,
    pub(super) classification: Classification,
    /// Path and query in their normal form; `None`: as in the request.
    pub(super) target: Option<PathAndQuery>,
    pub(super) head: request::Parts,
    pub(super) body: Incoming,
}

/// The client of a request, and the request's identity.
pub(super) struct Caller {
    pub(super) client: Client,
    pub(super) scheme: Scheme,
    pub(super) host: HeaderValue,
    pub(super) request_id: HeaderValue,
    pub(super) started: Mono,
    /// The response includes every commit up to these tokens.
    pub(super) tokens: LogTokens,
}

/// Returns the sample of a page that a hit has served; `None`: it is not explicitly shared, or not fresh.
fn sample(
    request: &Request<Incoming>,
    page: &PageRequest,
    (route, target): (&Arc<Route>, &Option<PathAndQuery>),
    answer: &Answer,
    (scheme, host): (Scheme, &str),
) -> Option<PageSample> {
    let Content::Present(value) = answer.entry.content() else { return None };
    let (metadata, _) = stored_head::decode(&value.head, 0)?;
    if *request.method() != Method::GET || !metadata.shared || answer.proof().stale.is_some() {
        return None;
    }
    Some(PageSample {
        key: page.key.clone(),
        entry: answer.entry.clone(),
        route: Arc::clone(route),
        evidence: route.evidence_under(metadata.proven_by),
        scheme,
        host: HeaderValue::from_str(host).ok()?,
        target: target.clone().or_else(|| request.uri().path_and_query().cloned())?,
        headers: shared_headers::of_key(request.headers(), &route.key_headers),
        encodings: page.encodings,
    })
}

impl GatewayInner {
    /// Serves a request from memory or refuses it, if either is possible without waiting.
    pub(crate) fn dispatch(&self, mut request: Request<Incoming>, peer: Peer) -> Dispatch {
        let started = self.clock.mono();
        let present = HeaderSet::of(request.headers());
        if present.any(HeaderSet::COOKIE) {
            cookie_fields::join(request.headers_mut());
        }
        // Removes the token's cookie before any other code reads cookies.
        let token = if present.any(HeaderSet::COOKIE) || present.any(HeaderSet::TIDEGATE_AFTER) {
            ryw_token::take_from_request(request.headers_mut())
                .unwrap_or_else(|err| self.ignore_token(&err))
        } else {
            None
        };
        let tokens = token.map(|tokens| self.by_log(&tokens)).unwrap_or_default();
        let described = self.origin(request.headers(), present, peer);
        let Described { client, scheme, host: forwarded } = described;
        let scheme = scheme.unwrap_or(peer.scheme);
        let refuse = |err: GatewayError| {
            let response = err.response(&self.request_id(&request, present));
            self.record_request(&request, &client, started, Outcome::Error, &response);
            Dispatch::Ready(response)
        };
        if let Err(err) = self.validate(&request, present) {
            return refuse(err);
        }
        let host = match self.host(&request, present, scheme, forwarded.as_deref()) {
            Ok(host) => host,
            Err(err) => return refuse(err),
        };
        let classified = match self.classify(&request, present, scheme, &host) {
            Ok(classified) => classified,
            Err(err) => return refuse(err),
        };
        let Classified { route, classification, target } = classified;
        if let Classification::Page(page) = &classification
            && let Some((answer, response)) =
                self.stored_page(&request, present, page, route, &tokens)
        {
            if let Some(sampler) = self.page_sampler.get() {
                let at = (scheme, &*host);
                sampler.offer(|| sample(&request, page, (route, &target), &answer, at));
            }
            self.metrics.sent_bytes.inc_by(response.body().size_hint().lower());
            self.record_request(&request, &client, started, Outcome::Hit, &response);
            return Dispatch::Ready(response);
        }
        let Ok(host) = HeaderValue::from_str(&host) else {
            return refuse(GatewayError::Host);
        };
        let request_id = self.request_id(&request, present);
        let caller = Caller { client, scheme, host, request_id, started, tokens };
        let (head, body) = request.into_parts();
        let route = Arc::clone(route);
        Dispatch::Pending(Box::new(PendingRequest {
            caller,
            route,
            classification,
            target,
            head,
            body,
        }))
    }

    /// The answer of the in-process tier and its response, if it has a usable page.
    fn stored_page(
        &self,
        request: &Request<Incoming>,
        present: HeaderSet,
        page: &PageRequest,
        route: &Route,
        tokens: &LogTokens,
    ) -> Option<(Answer, Response<Body>)> {
        let token = tokens.main;
        let answer = match token {
            None => self.engine.peek(&page.key, &route.policy),
            Some(token) => self.engine.peek_after(&page.key, &route.policy, token),
        }?;
        if !self.has_other_writes(&page.key, route, &answer, &tokens.others) {
            return None;
        }
        let response = stored_page(
            &answer,
            route,
            request.method(),
            request.headers(),
            present.any(HeaderSet::REVALIDATION),
            self.has_write(&answer, token),
            || self.request_id(request, present),
        )
        .ok()?;
        Some((answer, response))
    }

    fn request_id(&self, request: &Request<Incoming>, present: HeaderSet) -> HeaderValue {
        if present.any(HeaderSet::REQUEST_ID) {
            self.ids.accept_or_generate(request.headers())
        } else {
            self.ids.generate()
        }
    }

    fn record_request(
        &self,
        request: &Request<Incoming>,
        client: &Client,
        started: Mono,
        outcome: Outcome,
        response: &Response<Body>,
    ) {
        let path = request.uri().path();
        self.record(client, (request.method(), path), started, outcome, response);
    }
}
