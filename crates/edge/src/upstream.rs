//! The connections to the application behind the gateway.

use std::error::Error as StdError;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::uri::{Authority, PathAndQuery};
use http::{HeaderValue, Method, Request, Uri, Version, request, response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use thiserror::Error;
use tokio::sync::Semaphore;

use crate::body::{BodyError, Stream, TimedBody};
use crate::metrics::Metrics;
use crate::options::GatewayOptions;

/// The upstream gave no usable answer.
#[derive(Debug, Error)]
pub(crate) enum UpstreamError {
    #[error("the upstream is busy: all of its connections are in use")]
    Busy,
    #[error("the upstream can't be reached: {0}")]
    Connect(String),
    #[error("no connection to the upstream within {0:?}")]
    ConnectTimeout(Duration),
    #[error("no answer from the upstream within {0:?}")]
    NoAnswer(Duration),
    #[error("the upstream closed the connection without an answer")]
    Closed,
    #[error("the upstream answered something that is not HTTP: {0}")]
    Rubbish(String),
    #[error("the upstream's answer broke off: {0}")]
    Incomplete(String),
    #[error("the request's body broke off")]
    ClientBody,
}

impl UpstreamError {
    /// RFC 9209 §2.3; also the label in metrics.
    pub(crate) fn proxy_error(&self) -> &'static str {
        match self {
            Self::Busy => "connection_limit_reached",
            Self::Connect(_) => "destination_unavailable",
            Self::ConnectTimeout(_) => "connection_timeout",
            Self::NoAnswer(_) => "http_response_timeout",
            Self::Closed => "connection_terminated",
            Self::Rubbish(_) => "http_protocol_error",
            Self::Incomplete(_) => "http_response_incomplete",
            Self::ClientBody => "http_request_error",
        }
    }

    /// Without what only the operator should see.
    pub(crate) fn public_text(&self) -> &'static str {
        match self {
            Self::Busy => "the upstream is busy",
            Self::Connect(_) => "the upstream can't be reached",
            Self::ConnectTimeout(_) | Self::NoAnswer(_) => "the upstream did not answer in time",
            Self::Closed => "the upstream closed the connection without an answer",
            Self::Rubbish(_) => "the upstream answered something that is not HTTP",
            Self::Incomplete(_) => "the upstream's answer broke off",
            Self::ClientBody => "the request's body broke off",
        }
    }
}

/// One upstream with its pool of connections.
#[derive(Debug)]
pub(crate) struct Upstream {
    client: Client<HttpConnector, RequestBody>,
    authority: Authority,
    host: HeaderValue,
    permits: Arc<Semaphore>,
    connect: Duration,
    first_byte: Duration,
    pause: Duration,
    metrics: Arc<Metrics>,
}

impl Upstream {
    pub(crate) fn new(
        options: &GatewayOptions,
        authority: Authority,
        metrics: Arc<Metrics>,
    ) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(options.connect_timeout));
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            // Shorter than the keep-alive of common application servers, so that we are mostly the
            // one to close first.
            .pool_idle_timeout(Duration::from_secs(4))
            .pool_max_idle_per_host(options.max_upstream_requests)
            .http1_max_headers(128)
            .build(connector);
        let host = HeaderValue::from_str(authority.as_str()).expect("an authority is visible text");
        Self {
            client,
            authority,
            host,
            permits: Arc::new(Semaphore::new(options.max_upstream_requests)),
            connect: options.connect_timeout,
            first_byte: options.first_byte_timeout,
            pause: options.body_pause,
            metrics,
        }
    }

    /// The upstream's own name, for applications that want to be called by it.
    pub(crate) fn host(&self) -> &HeaderValue {
        &self.host
    }

    /// Where `target` lies at the upstream.
    pub(crate) fn uri(&self, target: PathAndQuery) -> Uri {
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(http::uri::Scheme::HTTP);
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(target);
        Uri::from_parts(parts).expect("scheme, authority and path make a URI")
    }

    /// Sends a request and waits for the head of its answer.
    ///
    /// A connection that the upstream closed just as we used it is no failure of the upstream:
    /// safe requests without a body are sent once more (RFC 9110 §9.2.2).
    pub(crate) async fn send(
        &self,
        mut parts: request::Parts,
        body: RequestBody,
    ) -> Result<(response::Parts, Stream), UpstreamError> {
        let permit = Arc::clone(&self.permits)
            .try_acquire_owned()
            .map_err(|_| self.failed(UpstreamError::Busy))?;
        parts.version = Version::HTTP_11;
        let repeatable =
            body.is_none() && matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS);
        let again = repeatable.then(|| parts.clone());
        let mut outcome = self.send_once(Request::from_parts(parts, body)).await;
        if let (Err(UpstreamError::Closed), Some(parts)) = (&outcome, again) {
            outcome = self.send_once(Request::from_parts(parts, RequestBody::none())).await;
        }
        let (parts, body) = outcome.map_err(|err| self.failed(err))?.into_parts();
        let body = TimedBody::new(body, self.pause);
        Ok((parts, Stream::new(body, Some(permit))))
    }

    fn failed(&self, err: UpstreamError) -> UpstreamError {
        self.metrics.upstream_failed(err.proxy_error());
        err
    }

    async fn send_once(
        &self,
        request: Request<RequestBody>,
    ) -> Result<http::Response<Incoming>, UpstreamError> {
        self.metrics.upstream_requests.inc();
        let progress = request.body().progress();
        let mut seen = 0;
        let sending = self.client.request(request);
        tokio::pin!(sending);
        // An upload may take as long as it moves; silence counts from its last part.
        loop {
            match tokio::time::timeout(self.first_byte, &mut sending).await {
                Ok(outcome) => return outcome.map_err(|err| explain(&err, self.connect)),
                Err(_) => {
                    let now = progress.as_ref().map_or(0, |parts| parts.load(Ordering::Relaxed));
                    if now == seen {
                        return Err(UpstreamError::NoAnswer(self.first_byte));
                    }
                    seen = now;
                }
            }
        }
    }
}

/// What a client's error means. `connect`: how long a connection may take.
pub(crate) fn explain(err: &ClientError, connect: Duration) -> UpstreamError {
    let causes = || std::iter::successors(err.source(), |cause| (**cause).source());
    let text = causes().last().map_or_else(|| err.to_string(), ToString::to_string);
    let io = causes().find_map(|cause| cause.downcast_ref::<std::io::Error>());
    if err.is_connect() {
        return match io.map(std::io::Error::kind) {
            Some(std::io::ErrorKind::TimedOut) => UpstreamError::ConnectTimeout(connect),
            _ => UpstreamError::Connect(text),
        };
    }
    let Some(hyper) = causes().find_map(|cause| cause.downcast_ref::<hyper::Error>()) else {
        return UpstreamError::Connect(text);
    };
    if hyper.is_user() {
        return UpstreamError::ClientBody;
    }
    if hyper.is_parse() {
        return UpstreamError::Rubbish(text);
    }
    UpstreamError::Closed
}

/// A request's body on its way to the upstream.
#[derive(Debug)]
pub(crate) struct RequestBody(Option<Upload>);

#[derive(Debug)]
struct Upload {
    body: TimedBody,
    parts: Arc<AtomicU64>,
}

impl RequestBody {
    pub(crate) fn none() -> Self {
        Self(None)
    }

    /// The client's body, streamed as it comes.
    pub(crate) fn of(body: Incoming, pause: Duration) -> Self {
        if body.is_end_stream() {
            return Self::none();
        }
        Self(Some(Upload { body: TimedBody::new(body, pause), parts: Arc::default() }))
    }

    fn is_none(&self) -> bool {
        self.0.is_none()
    }

    fn progress(&self) -> Option<Arc<AtomicU64>> {
        self.0.as_ref().map(|upload| Arc::clone(&upload.parts))
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(upload) = &mut self.0 else { return Poll::Ready(None) };
        let frame = ready!(upload.body.poll_frame(cx));
        upload.parts.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|upload| upload.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or_else(|| SizeHint::with_exact(0), |upload| upload.body.size_hint())
    }
}
