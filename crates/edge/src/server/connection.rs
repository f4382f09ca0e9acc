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
use listen::ClientStream;
use tokio::sync::watch;

use super::h2_stream::{StreamExecutor, StreamProgress, TrackedBody};
use super::http_server::http_server;
use super::wake_gate::PollOnWake;
use super::write_timeout::WriteTimeout;
use crate::gateway::{Dispatch, GatewayInner};
use crate::http::body::Body;
use crate::http::client::Peer;
use crate::http::forwarding::list_members;
use crate::http::in_flight::{ClientRequest, ConnectionActivity};

/// One client connection.
pub(super) struct Connection {
    gateway: Arc<GatewayInner>,
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
    pub(super) fn new(gateway: Arc<GatewayInner>, peer: Peer) -> Self {
        let slow_readers = gateway.metrics.slow_readers.clone();
        let streams = StreamExecutor::new(gateway.client_pace(), slow_readers);
        Self { gateway, activity: Arc::default(), streams, peer }
    }

    pub(super) async fn run(self, socket: ClientStream, mut stopped: watch::Receiver<bool>) {
        let gateway = Arc::clone(&self.gateway);
        let activity = Arc::clone(&self.activity);
        let _open = OpenConnection::new(&gateway);
        socket.set_nodelay();
        let slow_readers = gateway.metrics.slow_readers.clone();
        let socket =
            WriteTimeout::new(socket, Arc::clone(&activity), gateway.client_pace(), slow_readers);
        let server = http_server(&gateway.options, self.streams.clone());
        let io = TokioIo::new(socket);
        let mut serving = pin!(server.serve_connection_with_upgrades(io, self));
        let mut idle_check = tokio::time::interval(gateway.options.head_timeout);
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
                        gateway.metrics.slow_connections.inc_by(u64::from(started == 0));
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
struct OpenConnection<'a>(&'a GatewayInner);

impl<'a> OpenConnection<'a> {
    fn new(gateway: &'a GatewayInner) -> Self {
        gateway.metrics.connections.inc();
        Self(gateway)
    }
}

impl Drop for OpenConnection<'_> {
    fn drop(&mut self) {
        self.0.metrics.connections.dec();
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
        let response = match self.gateway.dispatch(request, self.peer) {
            Dispatch::Ready(response) => PendingResponse::Ready(Some(response)),
            Dispatch::Pending(pending) => {
                let client_request = ClientRequest::new(&self.activity);
                let gateway = Arc::clone(&self.gateway);
                PendingResponse::Pending(Box::pin(gateway.resume(pending, client_request)))
            }
        };
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
