//! The connection pool to the upstream.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use cache::admission::Permit;
use http::header::TRANSFER_ENCODING;
use http::{HeaderMap, HeaderValue, Method, Request, Response, response};
use hyper::body::Incoming;
use listen::RareLog;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::client::{self, HttpClient, http_client};
use super::connector::Connector;
use super::error::UpstreamError;
use super::request::{Audience, ForwardRequest, UpstreamAddress};
use super::upload::{Progress, RequestBody};
use crate::http::body::TimedBody;
use crate::http::forwarding::list_members;
use crate::http::pace::PaceLimits;
use crate::settings::options::{GatewayOptions, OptionsError};
use crate::settings::upstream_limits::Timeouts;
use crate::telemetry::metrics::Metrics;

/// One upstream with its connection pool.
#[derive(Debug)]
pub(crate) struct Upstream {
    client: HttpClient,
    /// Opens a connection for each request.
    unpooled: HttpClient,
    address: UpstreamAddress,
    connect_timeout: Duration,
    /// The time that a client may pause within an upload.
    client_timeout: Duration,
    metrics: Arc<Metrics>,
    tls_failures: Mutex<RareLog>,
}

impl Upstream {
    /// # Errors
    /// [`OptionsError::Tls`].
    pub(crate) fn new(
        options: &GatewayOptions,
        metrics: Arc<Metrics>,
    ) -> Result<Self, OptionsError> {
        let connect_timeout = options.connect_timeout;
        let connector = Connector::new(&options.upstream, &options.tls, connect_timeout);
        connector.check().map_err(|err| OptionsError::Tls(err.to_string()))?;
        Ok(Self {
            client: http_client(connector.clone(), options.upstream_limits.concurrency),
            unpooled: http_client(connector, 0),
            address: UpstreamAddress::new(options),
            connect_timeout,
            client_timeout: options.clients.timeout,
            metrics,
            tls_failures: Mutex::default(),
        })
    }

    /// The upstream's own host.
    pub(crate) fn host(&self) -> &HeaderValue {
        self.address.host()
    }

    /// Whether the request comes from this gateway: it is in a loop.
    pub(crate) fn is_own_request(&self, headers: &HeaderMap) -> bool {
        self.address.is_in_via(headers)
    }

    /// Sends a request and waits for the head of the response. `permit`: the admission of a request with
    /// an upload, which holds no place while the client sends.
    ///
    /// A connection that the upstream closes while the gateway starts to use it is not an upstream
    /// failure: a safe request without a body is repeated once, on a new connection (RFC 9110 §9.2.2).
    /// No request is repeated for another reason, and none that has been answered.
    ///
    /// # Errors
    /// [`UpstreamError`] of the exchange.
    pub(crate) async fn send(
        &self,
        request: &ForwardRequest,
        audience: Audience<'_>,
        body: RequestBody,
        timeouts: Timeouts,
        permit: Option<&mut Permit>,
    ) -> Result<(response::Parts, TimedBody), UpstreamError> {
        let head = request.head(&self.address, audience);
        let repeatable =
            body.is_empty() && matches!(head.method, Method::GET | Method::HEAD | Method::OPTIONS);
        let repeat = repeatable.then(|| head.clone());
        let deadline = timeouts.total.map(|total| (Instant::now() + total, total));
        let exchange = async {
            let first = Request::from_parts(head, body);
            match (self.send_once(&self.client, first, timeouts, permit).await, repeat) {
                (Err(UpstreamError::Closed), Some(head)) => {
                    let again = Request::from_parts(head, RequestBody::empty());
                    self.send_once(&self.unpooled, again, timeouts, None).await
                }
                (outcome, _) => outcome,
            }
        };
        let outcome = match deadline {
            None => exchange.await,
            Some((deadline, total)) => tokio::time::timeout_at(deadline, exchange)
                .await
                .unwrap_or(Err(UpstreamError::TotalTimeout(total))),
        };
        let response = outcome.and_then(decodable).inspect_err(|err| {
            self.metrics.record_upstream_error(err.proxy_error());
            self.log_tls(err);
        })?;
        let (head, body) = response.into_parts();
        let body = TimedBody::new(body, PaceLimits { pause: timeouts.between_bytes, rate: 0 });
        Ok(match deadline {
            None => (head, body),
            Some((deadline, total)) => (head, body.with_deadline(deadline, total)),
        })
    }

    /// Logs why TLS fails, once a minute: the operator has to change something.
    fn log_tls(&self, err: &UpstreamError) {
        if let UpstreamError::Tls(_) = err
            && let Some(count) = self.tls_failures.lock().due(Instant::now())
        {
            tracing::warn!(error = %err, count, "[upstream] connections fail");
        }
    }

    async fn send_once(
        &self,
        client: &HttpClient,
        request: Request<RequestBody>,
        timeouts: Timeouts,
        permit: Option<&mut Permit>,
    ) -> Result<Response<Incoming>, UpstreamError> {
        self.metrics.upstream_requests.inc();
        let is_upload = request.body().is_incomplete();
        let progress = request.body().progress();
        let mut sending = pin!(client::send(client, request));
        let outcome = |sent: Result<_, _>| {
            sent.map_err(|err| UpstreamError::from_client(&err, self.connect_timeout))
        };
        if is_upload {
            let mut uploading = pin!(self.upload(&progress, timeouts));
            tokio::select! {
                biased;
                sent = &mut sending => return outcome(sent),
                stalled = &mut uploading => if let Some(err) = stalled { return Err(err) },
            }
            if let Some(permit) = permit {
                permit.resume();
            }
        }
        match tokio::time::timeout(timeouts.first_byte, sending).await {
            Ok(sent) => outcome(sent),
            Err(_) => Err(UpstreamError::ResponseTimeout(timeouts.first_byte)),
        }
    }

    /// Waits until an upload has been sent. It may take any time while it makes progress. Returns the error
    /// of an upstream that does not read on.
    async fn upload(&self, progress: &Progress, timeouts: Timeouts) -> Option<UpstreamError> {
        // A client that pauses for too long has failed the body by then.
        let limit = timeouts.first_byte.saturating_add(self.client_timeout);
        let mut sent_frames = 0;
        while tokio::time::timeout(limit, progress.sent()).await.is_err() {
            let frames = progress.frames();
            if frames == sent_frames {
                return Some(UpstreamError::ResponseTimeout(limit));
            }
            sent_frames = frames;
        }
        None
    }
}

/// Refuses a response with a transfer coding beside `chunked`: no request accepts one, and without its name the body
/// would be passed on, and stored, as something that it is not.
fn decodable(response: Response<Incoming>) -> Result<Response<Incoming>, UpstreamError> {
    let is_known = |coding: &&str| {
        ["chunked", "identity"].iter().any(|known| known.eq_ignore_ascii_case(coding))
    };
    let unknown =
        list_members(response.headers(), &TRANSFER_ENCODING).find(|coding| !is_known(coding));
    let refused = unknown.map(|coding| format!("the transfer coding {coding:?} is not supported"));
    match refused {
        Some(text) => Err(UpstreamError::InvalidHttp(text)),
        None => Ok(response),
    }
}
