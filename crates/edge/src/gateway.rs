//! A request's way through the gateway: look → answer from memory, or load, or hand through.

mod fetch;
mod plan;
mod written;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use cache::Engine;
use coherence::{After, Clock, Mono};
use contract::Key;
use http::{HeaderName, HeaderValue, Method, Request, Response, request};
use http_body::Body as HttpBody;
use hyper::body::Incoming;

use self::plan::Plan;
use crate::answer;
use crate::body::Body;
use crate::cookies::CookiePages;
use crate::error::EdgeError;
use crate::key::{self, Encodings, Scheme};
use crate::metrics::{Metrics, Outcome};
use crate::noted::Noted;
use crate::options::{GatewayOptions, OptionsError};
use crate::proof;
use crate::request_id::{RequestIds, X_REQUEST_ID};
use crate::token::{self, Malformed};
use crate::upstream::Upstream;

/// How long a page that is not explicitly shared is remembered as such.
const COOKIE_PAGES_KEPT: Duration = Duration::from_secs(10);

/// The HTTP gateway. Clones are the same gateway.
#[derive(Clone)]
pub struct Gateway {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) options: GatewayOptions,
    pub(crate) upstream: Upstream,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) cookie_pages: CookiePages,
    engine: Engine,
    ids: RequestIds,
}

/// Who asks, and how; worked out before anything else.
struct Caller {
    address: IpAddr,
    scheme: Scheme,
    host: HeaderValue,
    request_id: HeaderValue,
    began: Mono,
    /// Nothing older than this.
    after: Option<After>,
}

impl Gateway {
    /// A gateway in front of `options.upstream`, with `engine` as its store.
    ///
    /// # Errors
    /// [`OptionsError`] names the first setting that can't be.
    pub fn new(
        options: GatewayOptions,
        engine: Engine,
        metrics: Metrics,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, OptionsError> {
        let authority = options.check()?;
        let metrics = Arc::new(metrics);
        let shared = Shared {
            upstream: Upstream::new(&options, authority, Arc::clone(&metrics)),
            cookie_pages: CookiePages::new(COOKIE_PAGES_KEPT),
            ids: RequestIds::new(),
            options,
            metrics,
            clock,
            engine,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The keys under which the page may be stored: one per class of encodings. `target` is path
    /// and query. Empty if `host` is no host.
    #[must_use]
    pub fn keys(scheme: Scheme, host: &str, target: &str) -> Vec<Key> {
        let Some(host) = key::normal_host(host, scheme) else { return Vec::new() };
        let target = key::normal_target(target);
        Encodings::all().map(|class| key::page_key(scheme, &host, &target, class)).collect()
    }
}

/// An answer at once, or what is left to be done for it.
pub(crate) enum Step {
    Done(Response<Body>),
    Wait(Box<Waiting>),
}

/// A request that memory could not answer.
pub(crate) struct Waiting {
    caller: Caller,
    plan: Plan,
    head: request::Parts,
    body: Incoming,
}

impl Shared {
    /// The first step, without waiting: answers hits, and refuses what can't be answered.
    pub(crate) fn begin(&self, mut request: Request<Incoming>, peer: SocketAddr) -> Step {
        let began = self.clock.mono();
        let noted = Noted::of(request.headers());
        // Before anything looks at cookies.
        let after = if noted.any(Noted::COOKIE) || noted.any(Noted::AFTER) {
            token::take(request.headers_mut()).unwrap_or_else(|err| self.no_token(&err))
        } else {
            None
        };
        let scheme = if noted.any(Noted::FORWARDED_PROTO) {
            self.scheme(request.headers())
        } else {
            Scheme::Http
        };
        let refused = |err: EdgeError| {
            let response = err.response(&self.request_id(&request, noted));
            self.finish(&request, began, Outcome::Error, &response);
            Step::Done(response)
        };
        if let Err(err) = self.check(&request, noted) {
            return refused(err);
        }
        let host = match self.host(&request, noted, scheme) {
            Ok(host) => host,
            Err(err) => return refused(err),
        };
        let plan = self.plan(&request, noted, scheme, &host);
        if let Plan::Page(page) = &plan {
            let route = self.route(page, &request);
            let peeked = match after {
                None => self.engine.peek(&page.key, &route.policy),
                Some(after) => self.engine.peek_after(&page.key, &route.policy, after),
            };
            if let Some(answer) = peeked
                && let Ok(response) = answer::page(
                    &answer,
                    &route.policy.name,
                    request.method(),
                    request.headers(),
                    noted.any(Noted::HAS_IT),
                    || self.request_id(&request, noted),
                )
            {
                self.metrics.sent.inc_by(response.body().size_hint().lower());
                self.finish(&request, began, Outcome::Hit, &response);
                return Step::Done(response);
            }
        }
        let host = match HeaderValue::from_str(&host) {
            Ok(host) => host,
            Err(_) => return refused(EdgeError::Host),
        };
        let request_id = self.request_id(&request, noted);
        let caller = Caller { address: peer.ip(), scheme, host, request_id, began, after };
        let (head, body) = request.into_parts();
        Step::Wait(Box::new(Waiting { caller, plan, head, body }))
    }

    fn request_id(&self, request: &Request<Incoming>, noted: Noted) -> HeaderValue {
        if noted.any(Noted::REQUEST_ID) { self.ids.of(request.headers()) } else { self.ids.make() }
    }

    /// Somebody's answer does not fail because of a token that nobody can read.
    fn no_token(&self, err: &Malformed) -> Option<After> {
        tracing::debug!(error = %err.0, "a malformed token is ignored");
        self.metrics.malformed_tokens.inc();
        None
    }

    fn finish(
        &self,
        request: &Request<Incoming>,
        began: Mono,
        outcome: Outcome,
        response: &Response<Body>,
    ) {
        let took = self.clock.mono().since(began);
        self.metrics.answered(outcome, response.status(), took);
        log(request.method(), request.uri().path(), took, outcome, response);
    }
}

/// One line per request. Without the query: it may hold what does not belong in a log.
fn log(method: &Method, path: &str, took: Duration, outcome: Outcome, response: &Response<Body>) {
    tracing::debug!(
        target: "tidegate::access",
        %method,
        path,
        status = response.status().as_u16(),
        cache = outcome.as_str(),
        took_us = took.as_micros() as u64,
        request_id = said(response, &X_REQUEST_ID),
        freshness = said(response, &proof::TIDEGATE_FRESHNESS),
    );
}

fn said<'a>(response: &'a Response<Body>, name: &HeaderName) -> &'a str {
    response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}
