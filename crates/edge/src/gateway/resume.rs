//! The second step of a request: a read through the engine, or a pass to the upstream.

use std::sync::Arc;

use cache::{Answer, Origin, OriginErrorKind, ReadError, Tier};
use coherence::CausalToken;
use http::header::CACHE_CONTROL;
use http::uri::PathAndQuery;
use http::{HeaderValue, Response, StatusCode};
use hyper::upgrade::OnUpgrade;

use super::classify::{Classification, PageRequest, WEBSOCKET};
use super::dispatch::{Caller, PendingRequest};
use super::error::GatewayError;
use super::inner::{GatewayInner, LogTokens};
use crate::http::body::Body;
use crate::http::forwarding::{self, has_cookies, list_members};
use crate::http::freshness::{CACHE_STATUS, TIDEGATE_FRESHNESS};
use crate::http::in_flight::ClientRequest;
use crate::http::request_id::X_REQUEST_ID;
use crate::http::ryw_token;
use crate::http::tunnel;
use crate::page_cache::origin::{PageLoad, PrivateResponse};
use crate::page_cache::response::{Unusable, stored_page};
use crate::settings::routes::Route;
use crate::telemetry::metrics::Outcome;
use crate::upstream::error::UpstreamError;
use crate::upstream::request::ForwardRequest;
use crate::upstream::upload::RequestBody;

type Served = Result<(Outcome, Response<Body>), GatewayError>;

impl GatewayInner {
    /// Serves a request that [`dispatch`](Self::dispatch) left pending.
    pub(crate) async fn resume(
        self: Arc<Self>,
        pending: Box<PendingRequest>,
        client_request: ClientRequest,
    ) -> Response<Body> {
        let PendingRequest { caller, route, classification, target, mut head, body } = *pending;
        let may_upgrade = head.extensions.remove::<OnUpgrade>().is_some();
        let Caller { client, scheme, host, request_id, started, tokens } = caller;
        let request = ForwardRequest {
            target: target
                .or_else(|| head.uri.path_and_query().cloned())
                .unwrap_or_else(|| PathAndQuery::from_static("/")),
            method: head.method,
            version: head.version,
            headers: head.headers,
            websocket: matches!(classification, Classification::Pass(WEBSOCKET)),
            client,
            scheme,
            host,
            request_id,
        };
        let (request, served) = match classification {
            _ if is_only_if_cached(&request) => {
                (Arc::new(request), Err(GatewayError::OnlyIfCached))
            }
            Classification::Page(page) => {
                let request = Arc::new(request);
                let served = self.read_page(page, route, tokens, Arc::clone(&request)).await;
                (request, served)
            }
            Classification::Pass(reason) => {
                let body = RequestBody::streamed(body, self.client_pace());
                let served = self.pass(&request, &route, body, reason).await;
                (Arc::new(request), served)
            }
        };
        let silence = self.options.clients.websocket_timeout;
        let served = served.and_then(|(outcome, mut response)| {
            if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                let tunnel = may_upgrade.then(|| tunnel::accept(&mut response, silence)).flatten();
                let unasked = || UpstreamError::InvalidHttp("a 101 that was not asked for".into());
                client_request.become_tunnel(tunnel.ok_or_else(unasked)?);
            }
            Ok((outcome, response))
        });
        let (outcome, mut response) = served.unwrap_or_else(|err| {
            tracing::debug!(request_id = ?request.request_id, error = %err, "request failed");
            (Outcome::Error, err.response(&request.request_id))
        });
        response.body_mut().attach(&self.metrics.sent_bytes, client_request);
        let target = (&request.method, request.target.path());
        self.record(&request.client, target, started, outcome, &response);
        response
    }

    /// Reads a page through the engine.
    async fn read_page(
        self: &Arc<Self>,
        page: PageRequest,
        route: Arc<Route>,
        tokens: LogTokens,
        request: Arc<ForwardRequest>,
    ) -> Served {
        let token = tokens.main;
        let pass = |reason| self.pass(&request, &route, RequestBody::empty(), reason);
        if !page.may_load {
            return pass("request").await;
        }
        let has_cookies = has_cookies(&request.headers);
        if has_cookies && self.pages.is_cookie_page(&page.key) {
            return pass("bypass; detail=cookie").await;
        }
        self.wait_reached(&tokens.others).await;
        let mut is_repeated = false;
        loop {
            let load = Arc::new(PageLoad::new(
                Arc::clone(&self.pages),
                Arc::clone(&request),
                page.encodings,
                Arc::clone(&route),
            ));
            let origin: Arc<dyn Origin> = Arc::clone(&load) as _;
            let path = request.target.path();
            let read = self.engine.get_after(&page.key, path, &route.policy, &origin, token).await;
            let unsuitable = read.as_ref().is_err_and(is_unsuitable_load);
            return match (read, load.take_private()) {
                (Ok(answer), _)
                    if !self.has_other_writes(&page.key, &route, &answer, &tokens.others) =>
                {
                    pass("bypass; detail=token").await
                }
                (Ok(answer), _) if answer.entry.is_present() => {
                    match self.loaded_page(&answer, &page, &route, token, &request) {
                        Ok(response) => {
                            if has_cookies {
                                self.pages.is_shared(&page.key);
                            }
                            Ok((outcome(&answer), response))
                        }
                        Err(reason) => pass(reason).await,
                    }
                }
                (_, Some(private)) => Ok(private_response(&request, private?)),
                (Ok(_), None) => pass("bypass").await,
                // The load of another client, which has shown that all may share the page.
                (Err(_), None)
                    if unsuitable
                        && !is_repeated
                        && self.pages.is_shared_page(&page.key, self.clock.mono()) =>
                {
                    is_repeated = true;
                    continue;
                }
                // The load of another client, which could not load for this one.
                (Err(_), None) if unsuitable => pass("miss").await,
                (Err(err), None) => Err(err.into()),
            };
        }
    }

    /// The response from a page that the engine has, or the reason why the request is passed.
    fn loaded_page(
        &self,
        answer: &Answer,
        page: &PageRequest,
        route: &Route,
        token: Option<CausalToken>,
        request: &ForwardRequest,
    ) -> Result<Response<Body>, &'static str> {
        let (method, headers) = (&request.method, &request.headers);
        let has_write = self.has_write(answer, token);
        let request_id = || request.request_id.clone();
        let response = stored_page(answer, route, method, headers, true, has_write, request_id);
        response.map_err(|unusable| match unusable {
            Unusable::Cookies => "bypass; detail=cookie",
            Unusable::Expired => "stale",
            Unusable::Token => "bypass; detail=token",
            Unusable::Malformed => {
                tracing::warn!(key = %page.key, "stored page is malformed");
                "miss; detail=malformed"
            }
        })
    }

    /// Passes a request to the upstream. The response is for this client only.
    async fn pass(
        &self,
        request: &ForwardRequest,
        route: &Route,
        body: RequestBody,
        reason: &str,
    ) -> Served {
        let (mut head, body) = self.gate.pass(route, request, body).await?;
        let token = ryw_token::take_from_response(&mut head.headers)
            .unwrap_or_else(|err| self.ignore_token(&err));
        let mut response = Response::from_parts(head, Body::Stream(Box::new(body)));
        set_response_headers(&mut response, request, &format!("tidegate; fwd={reason}"));
        if !request.method.is_safe() {
            self.invalidate_after_write(route, request, token, &mut response).await;
        }
        Ok((Outcome::Pass, response))
    }
}

/// Whether the client wants no request to be sent to the upstream (RFC 9111 §5.2.1.7).
fn is_only_if_cached(request: &ForwardRequest) -> bool {
    request.method.is_safe()
        && list_members(&request.headers, &CACHE_CONTROL)
            .any(|directive| directive.eq_ignore_ascii_case("only-if-cached"))
}

/// The response of this client's own load, which is for this client only.
fn private_response(
    request: &ForwardRequest,
    private: PrivateResponse,
) -> (Outcome, Response<Body>) {
    let PrivateResponse { head, body, reason } = private;
    let status = match reason {
        Some(reason) => format!("tidegate; fwd=miss; detail={}", reason.as_str()),
        None => "tidegate; fwd=miss".to_owned(),
    };
    let mut response = Response::from_parts(head, Body::Stream(Box::new(body)));
    set_response_headers(&mut response, request, &status);
    (Outcome::Pass, response)
}

/// Sets the headers of a response from the upstream.
fn set_response_headers(
    response: &mut Response<Body>,
    request: &ForwardRequest,
    cache_status: &str,
) {
    let status =
        HeaderValue::from_str(cache_status).expect("fixed text and reason names are visible ASCII");
    let version = response.version();
    let headers = response.headers_mut();
    forwarding::rewrite_response_headers(headers, version);
    headers.append(CACHE_STATUS, status);
    headers.insert(X_REQUEST_ID, request.request_id.clone());
    headers.remove(TIDEGATE_FRESHNESS);
}

fn outcome(answer: &Answer) -> Outcome {
    match (answer.proof().stale, answer.proof().tier) {
        (Some(_), _) => Outcome::Stale,
        (None, Tier::Origin) => Outcome::Miss,
        (None, Tier::Local | Tier::Shared) => Outcome::Hit,
    }
}

fn is_unsuitable_load(err: &ReadError) -> bool {
    matches!(err, ReadError::Origin(err) if err.kind == OriginErrorKind::BadRequest)
}
