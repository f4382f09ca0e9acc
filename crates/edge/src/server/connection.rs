//! One client connection: its requests, its timeouts, its shutdown.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::header::CONNECTION;
use http::{Request, Response, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::rt::TokioIo;
use listen::{ClientStream, Switch};
use tokio::sync::watch;

use super::h2_stream::{StreamExecutor, StreamProgress, TrackedBody};
use super::http_server::http_server;
use super::wake_gate::PollOnWake;
use super::write_timeout::WriteTimeout;
use crate::gateway::{Dispatch, Gateway};
use crate::http::body::Body;
use crate::http::client::Peer;
use crate::http::forwarding::list_members;
use crate::http::in_flight::{ClientRequest, ConnectionActivity};
use crate::telemetry::metrics::Metrics;

/// One client connection.
pub(super) struct Connection {
    gateway: Switch<Gateway>,
    activity: Arc<ConnectionActivity>,
    streams: StreamExecutor,
    peer: Peer,
}

/// A connection that writes at least this many bytes between two idle checks is not idle. Less may be the
/// pings of HTTP/2.
const ACTIVE_BYTES: u64 = 1 << 10;

/// An event on a connection beside its requests.
enum Event {
    /// The gateway shuts down. False: the gateway no longer exists.
    Shutdown(bool),
    /// The idle check is due.
    IdleCheck,
}

impl Connection {
    pub(super) fn new(gateway: Switch<Gateway>, peer: Peer) -> Self {
        let streams = gateway.with(|Gateway { inner }| {
            StreamExecutor::new(inner.client_pace(), inner.metrics.slow_readers.clone())
        });
        Self { gateway, activity: Arc::default(), streams, peer }
    }

    pub(super) async fn run(self, socket: ClientStream, mut stopped: watch::Receiver<bool>) {
        let activity = Arc::clone(&self.activity);
        // Nothing of the gateway itself is kept: a connection may outlive it by far.
        let (metrics, pace, head_timeout, server) = self.gateway.with(|Gateway { inner }| {
            let server = http_server(&inner.options, self.streams.clone());
            let head_timeout = inner.options.head_timeout;
            (Arc::clone(&inner.metrics), inner.client_pace(), head_timeout, server)
        });
        let _open = OpenConnection::new(&metrics);
        socket.set_nodelay();
        let slow_readers = metrics.slow_readers.clone();
        let socket = WriteTimeout::new(socket, Arc::clone(&activity), pace, slow_readers);
        let io = TokioIo::new(socket);
        let mut serving = pin!(server.serve_connection_with_upgrades(io, self));
        let mut idle_check = tokio::time::interval(head_timeout);
        idle_check.reset();
        let (mut last_started, mut last_written) = (0, 0);
        loop {
            let event = pin!(async {
                tokio::select! {
                    changed = stopped.changed() => Event::Shutdown(changed.is_ok()),
                    _ = idle_check.tick() => Event::IdleCheck,
                }
            });
            let event = tokio::select! {
                biased;
                ended = &mut serving => {
                    if let Err(err) = ended {
                        tracing::debug!(error = %err, "connection ended");
                    }
                    break;
                }
                event = PollOnWake::new(event) => event,
            };
            match event {
                Event::Shutdown(false) => return,
                Event::Shutdown(true) => serving.as_mut().graceful_shutdown(),
                Event::IdleCheck => {
                    let (started, written) = (activity.started(), activity.written_bytes());
                    let is_writing = written - last_written >= ACTIVE_BYTES;
                    if activity.is_idle() && started == last_started && !is_writing {
                        metrics.slow_connections.inc_by(u64::from(started == 0));
                        return;
                    }
                    (last_started, last_written) = (started, written);
                }
            }
        }
        if let Some(tunnel) = activity.take_tunnel() {
            // A tunnel has no end that a shutdown could wait for.
            tokio::select! {
                () = tunnel => {}
                _ = stopped.wait_for(|stopped| *stopped) => {}
            }
        }
    }
}

/// Counts a connection in the gauge of open connections.
struct OpenConnection<'a>(&'a Metrics);

impl<'a> OpenConnection<'a> {
    fn new(metrics: &'a Metrics) -> Self {
        metrics.connections.inc();
        Self(metrics)
    }
}

impl Drop for OpenConnection<'_> {
    fn drop(&mut self) {
        self.0.connections.dec();
    }
}

impl Service<Request<Incoming>> for Connection {
    type Response = Response<TrackedBody>;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn call(&self, request: Request<Incoming>) -> ResponseFuture {
        self.activity.request_started();
        if is_last_request(&request) {
            self.activity.last_request();
        }
        let progress = (request.version() == Version::HTTP_2).then(|| self.streams.start_stream());
        let response =
            self.gateway.with(|Gateway { inner }| match inner.dispatch(request, self.peer) {
                Dispatch::Ready(response) => PendingResponse::Ready(Some(response)),
                Dispatch::Pending(pending) => {
                    let client_request = ClientRequest::new(&self.activity);
                    let gateway = Arc::clone(inner);
                    PendingResponse::Pending(Box::pin(gateway.resume(pending, client_request)))
                }
            });
        ResponseFuture { response, progress }
    }
}

/// Whether the client has sent all that it sends: no further request, and no body.
fn is_last_request(request: &Request<Incoming>) -> bool {
    let has = |option: &str| {
        list_members(request.headers(), &CONNECTION).any(|given| given.eq_ignore_ascii_case(option))
    };
    let is_last = match request.version() {
        Version::HTTP_11 => has("close"),
        Version::HTTP_10 => !has("keep-alive"),
        _ => false,
    };
    is_last && request.body().is_end_stream()
}

/// A response, or the future of one. A hit is ready and allocates no future.
enum PendingResponse {
    Ready(Option<Response<Body>>),
    Pending(Pin<Box<dyn Future<Output = Response<Body>> + Send>>),
}

/// The response to one request.
pub(super) struct ResponseFuture {
    response: PendingResponse,
    progress: Option<Arc<StreamProgress>>,
}

impl Future for ResponseFuture {
    type Output = Result<Response<TrackedBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let response = match &mut self.response {
            PendingResponse::Ready(response) => {
                response.take().expect("not polled after completion")
            }
            PendingResponse::Pending(future) => ready!(future.as_mut().poll(cx)),
        };
        let progress = self.progress.take();
        Poll::Ready(Ok(response.map(|body| TrackedBody { body, progress })))
    }
}
