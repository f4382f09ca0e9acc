//! The connection pool to the upstream.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::uri::Authority;
use http::{HeaderValue, Method, Request, Response, response};
use hyper::body::Incoming;

use super::client::{HttpClient, http_client};
use super::error::UpstreamError;
use super::request::{Audience, ForwardRequest, UpstreamAddress};
use super::upload::RequestBody;
use crate::http::body::{Stream, TimedBody};
use crate::http::in_flight::UpstreamPermit;
use crate::settings::options::GatewayOptions;
use crate::telemetry::metrics::Metrics;

/// One upstream with its connection pool.
#[derive(Debug)]
pub(crate) struct Upstream {
    client: HttpClient,
    address: UpstreamAddress,
    connect_timeout: Duration,
    first_byte_timeout: Duration,
    body_pause: Duration,
    metrics: Arc<Metrics>,
}

impl Upstream {
    pub(crate) fn new(
        options: &GatewayOptions,
        authority: Authority,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            client: http_client(options.connect_timeout, options.max_upstream_requests),
            address: UpstreamAddress::new(authority, options),
            connect_timeout: options.connect_timeout,
            first_byte_timeout: options.first_byte_timeout,
            body_pause: options.body_pause,
            metrics,
        }
    }

    /// The upstream's own host.
    pub(crate) fn host(&self) -> &HeaderValue {
        self.address.host()
    }

    /// Sends a request and waits for the head of the response. The body holds `permit` until it ends.
    ///
    /// A connection that the upstream closes while the gateway starts to use it is not an upstream
    /// failure: safe requests without a body are repeated once (RFC 9110 §9.2.2).
    ///
    /// # Errors
    /// [`UpstreamError`], except [`UpstreamError::Overloaded`] and [`UpstreamError::Incomplete`].
    pub(crate) async fn send(
        &self,
        request: &ForwardRequest,
        audience: Audience,
        body: RequestBody,
        permit: UpstreamPermit,
    ) -> Result<(response::Parts, Stream), UpstreamError> {
        let head = request.head(&self.address, audience);
        let repeatable =
            body.is_empty() && matches!(head.method, Method::GET | Method::HEAD | Method::OPTIONS);
        let repeat = repeatable.then(|| head.clone());
        let mut outcome = self.send_once(Request::from_parts(head, body)).await;
        if let (Err(UpstreamError::Closed), Some(head)) = (&outcome, repeat) {
            outcome = self.send_once(Request::from_parts(head, RequestBody::empty())).await;
        }
        let response = outcome.inspect_err(|err| {
            self.metrics.record_upstream_error(err.proxy_error());
        })?;
        let (head, body) = response.into_parts();
        Ok((head, Stream::new(TimedBody::new(body, self.body_pause), Some(permit))))
    }

    async fn send_once(
        &self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, UpstreamError> {
        self.metrics.upstream_requests.inc();
        let progress = request.body().progress();
        let mut sent_frames = 0;
        let mut sending = pin!(self.client.request(request));
        // An upload may take any time while it makes progress; the timeout restarts with each frame.
        loop {
            match tokio::time::timeout(self.first_byte_timeout, &mut sending).await {
                Ok(outcome) => {
                    return outcome
                        .map_err(|err| UpstreamError::from_client(&err, self.connect_timeout));
                }
                Err(_) => {
                    let frames = progress.frames();
                    if frames == sent_frames {
                        return Err(UpstreamError::ResponseTimeout(self.first_byte_timeout));
                    }
                    sent_frames = frames;
                }
            }
        }
    }
}
