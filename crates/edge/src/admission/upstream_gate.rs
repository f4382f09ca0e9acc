//! The gate through which every request enters the upstream.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use cache::Engine;
use cache::admission::{
    AdmissionRequest, BreakerOptions, BreakerPass, Exchange, GateOptions, Lane, OriginGate, Permit,
    RejectReason, Rejected, RequestOutcome,
};
use coherence::{Clock, Mono};
use contract::Class;
use http::{HeaderMap, HeaderValue, StatusCode, response};
use parking_lot::Mutex;

use super::budget::{Exhausted, Slot, Slots, client_at};
use super::page_breakers::{PageBreakers, PageId};
use crate::http::body::{Stream, TimedBody};
use crate::http::collect::{Collected, collect};
use crate::http::encodings::Encodings;
use crate::settings::options::{GatewayOptions, OptionsError};
use crate::settings::routes::Route;
use crate::telemetry::metrics::Metrics;
use crate::upstream::error::UpstreamError;
use crate::upstream::pool::Upstream;
use crate::upstream::request::{Audience, ForwardRequest};
use crate::upstream::upload::RequestBody;

/// The name of the upstream as an origin of the engine.
pub(crate) const NAME: &str = "upstream";

/// When the circuit breaker of the upstream's address opens. It stays open for so short a time that an
/// upstream that is back is used within a second.
const BREAKER: BreakerOptions = BreakerOptions {
    min_calls: 8,
    failure_share: 0.5,
    open_for: Duration::from_millis(100),
    max_open: Duration::from_millis(500),
    probe_timeout: Duration::from_millis(250),
};

/// The upstream behind its admission; no other code has access to the pool.
///
/// Every request to the upstream passes one [`OriginGate`], by its priority class: the engine takes a page
/// load through it ([`load`](Self::load)), a write or a private page passes it here
/// ([`pass`](Self::pass)). A request holds a place while it loads the upstream: from its admission until the
/// head of its response has come, or, for a page that is to be stored, the body. The time in which a client
/// sends its request or reads its response is not the upstream's; it is limited by the client's pace, and
/// by budgets of open uploads and responses, in all and per client.
pub(crate) struct UpstreamGate {
    upstream: Upstream,
    gate: Arc<OriginGate>,
    responses: Slots,
    uploads: Slots,
    upload_buffer: usize,
    pages: Mutex<PageBreakers>,
    page_hash: RandomState,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
}

/// A load of a page that its breaker has admitted.
pub(crate) struct PagePass {
    page: PageId,
    pass: BreakerPass,
}

impl UpstreamGate {
    /// # Errors
    /// [`OptionsError::Tls`].
    pub(crate) fn new(
        options: &GatewayOptions,
        engine: &Engine,
        metrics: Arc<Metrics>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, OptionsError> {
        let (limits, clients) = (&options.upstream_limits, &options.clients);
        let gate = GateOptions {
            // The time of a page depends on the page more than on the upstream's load.
            search: Some(limits.range),
            slow_load: None,
            shares: limits.shares,
            queue: limits.queue,
            queue_timeout: limits.queue_timeout,
            breaker: BREAKER,
            // The pool repeats requests that may be repeated.
            retries: false,
            ..engine.gate_options(Some(limits.concurrency))
        };
        Ok(Self {
            upstream: Upstream::new(options, Arc::clone(&metrics))?,
            gate: engine.origin_gate(NAME, gate),
            responses: Slots::new(clients.responses, metrics.budget("responses")),
            uploads: Slots::new(clients.uploads, metrics.budget("uploads")),
            upload_buffer: clients.upload_buffer,
            pages: Mutex::default(),
            page_hash: RandomState::new(),
            clock,
            metrics,
        })
    }

    /// The upstream's own host.
    pub(crate) fn upstream_host(&self) -> &HeaderValue {
        self.upstream.host()
    }

    /// Whether the request comes from this gateway: it is in a loop.
    pub(crate) fn is_own_request(&self, headers: &HeaderMap) -> bool {
        self.upstream.is_own_request(headers)
    }

    /// Passes a client's request, and waits for the head of the response.
    ///
    /// # Errors
    /// [`UpstreamError`]: the request was not admitted, or the exchange failed.
    pub(crate) async fn pass(
        &self,
        route: &Route,
        request: &ForwardRequest,
        mut body: RequestBody,
    ) -> Result<(response::Parts, Stream), UpstreamError> {
        let class = route.policy.rules.priority;
        let slot = self.response_slot(request, class)?;
        if !body.is_empty() {
            body.hold(self.take_slot(&self.uploads, "uploads", request, class)?);
            body.receive(self.upload_buffer).await.map_err(|err| {
                tracing::debug!(error = %err, "the request body ended early");
                UpstreamError::RequestBody
            })?;
        }
        let party = Some(client_at(request.client.address));
        let admission = AdmissionRequest { class, lane: Lane::Pass, party };
        let admitted = self.gate.admit(admission).await;
        let mut permit = admitted.map_err(|rejected| self.rejected(rejected))?;
        if body.is_incomplete() {
            permit.pause();
        }
        let is_upload = body.is_incomplete();
        let (timeouts, began) = (route.timeouts, self.clock.mono());
        let sent =
            self.upstream.send(request, Audience::Client, body, timeouts, Some(&mut permit)).await;
        if !is_upload {
            self.report(route, request, began, &sent);
        }
        finish(permit, &sent);
        let (head, body) = sent?;
        Ok((head, Stream::new(body, Some(slot))))
    }

    /// Loads a page that the engine has admitted, and waits for the head of the response.
    ///
    /// # Errors
    /// [`UpstreamError`] of the exchange.
    pub(crate) async fn load(
        &self,
        route: &Route,
        request: &ForwardRequest,
        audience: Audience<'_>,
    ) -> Result<(response::Parts, Stream), UpstreamError> {
        let body = RequestBody::empty();
        let began = self.clock.mono();
        let sent = self.upstream.send(request, audience, body, route.timeouts, None).await;
        self.report(route, request, began, &sent);
        sent.map(|(head, body)| (head, Stream::new(body, None)))
    }

    /// Reports a request that the upstream has answered to the search for its limit.
    fn report(
        &self,
        route: &Route,
        request: &ForwardRequest,
        began: Mono,
        sent: &Result<(response::Parts, TimedBody), UpstreamError>,
    ) {
        let Ok((head, _)) = sent else { return };
        let refusals = [StatusCode::SERVICE_UNAVAILABLE, StatusCode::TOO_MANY_REQUESTS];
        self.gate.exchanged(Exchange {
            began,
            took: self.clock.mono().since(began),
            page: self.page_id(route, request).0,
            refused: refusals.contains(&head.status),
        });
    }

    fn page_id(&self, route: &Route, request: &ForwardRequest) -> PageId {
        let path = request.target.path();
        PageId(self.page_hash.hash_one((route.prefix(), &request.host, path)))
    }

    /// Loads a page that no client waits for, if there is room, with its body of at most `max_bytes`.
    /// `None`: there is no room, or the exchange failed.
    pub(crate) async fn background_load(
        &self,
        route: &Route,
        request: &ForwardRequest,
        encodings: Encodings,
        max_bytes: u64,
    ) -> Option<(response::Parts, Collected)> {
        let _permit = self.gate.try_admit().ok()?;
        let audience = Audience::Shared { encodings, keyed: &route.key_headers };
        let (head, mut body) = self.load(route, request, audience).await.ok()?;
        Some((head, collect(&mut body, max_bytes).await))
    }

    /// Counts a response that is sent to the client of `request` as open.
    ///
    /// # Errors
    /// [`UpstreamError::ClientLimit`] or [`UpstreamError::TotalLimit`].
    pub(crate) fn response_slot(
        &self,
        request: &ForwardRequest,
        class: Class,
    ) -> Result<Slot, UpstreamError> {
        self.take_slot(&self.responses, "responses", request, class)
    }

    fn take_slot(
        &self,
        slots: &Slots,
        kind: &'static str,
        request: &ForwardRequest,
        class: Class,
    ) -> Result<Slot, UpstreamError> {
        slots.take(client_at(request.client.address), class).map_err(|exhausted| {
            tracing::debug!(client = %request.client.address, kind, ?exhausted, "request refused");
            let err = match exhausted {
                Exhausted::Client => UpstreamError::ClientLimit(kind),
                Exhausted::Total => UpstreamError::TotalLimit(kind),
            };
            self.metrics.record_upstream_error(err.proxy_error());
            err
        })
    }

    /// Asks the breaker of the request's page about a load.
    ///
    /// # Errors
    /// [`UpstreamError::PageFails`] while it is open.
    pub(crate) fn enter_page(
        &self,
        route: &Route,
        request: &ForwardRequest,
    ) -> Result<PagePass, UpstreamError> {
        let page = self.page_id(route, request);
        match self.pages.lock().try_pass(page, self.clock.mono()) {
            BreakerPass::Refused(left) | BreakerPass::Probing(left) => {
                Err(UpstreamError::PageFails(left))
            }
            pass => Ok(PagePass { page, pass }),
        }
    }

    /// Records the outcome of a page's load.
    pub(crate) fn leave_page(&self, page: &PagePass, good: bool) {
        self.pages.lock().record(page.page, self.clock.mono(), page.pass, good);
    }

    fn rejected(&self, Rejected { reason, retry_after }: Rejected) -> UpstreamError {
        let err = match reason {
            RejectReason::Limit => UpstreamError::Overloaded(retry_after),
            RejectReason::Breaker => UpstreamError::Unreachable(retry_after),
        };
        self.metrics.record_upstream_error(err.proxy_error());
        err
    }
}

/// Ends an admission with the outcome of its exchange.
fn finish(permit: Permit, sent: &Result<(response::Parts, TimedBody), UpstreamError>) {
    let outcome = match sent {
        // How long it took depends on the request.
        Ok(_) => Some(RequestOutcome::Answered),
        Err(err) => err.outcome(),
    };
    if let Some(outcome) = outcome {
        permit.finish(outcome);
    }
}
