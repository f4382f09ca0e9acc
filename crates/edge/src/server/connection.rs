//! One client connection: its requests, its timeouts, its shutdown.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::wake_gate::PollOnWake;
use super::write_timeout::WriteTimeout;
use crate::gateway::{Dispatch, GatewayInner};
use crate::http::body::Body;
use crate::http::in_flight::{ClientRequest, ConnectionActivity};

/// One client connection.
pub(super) struct Connection {
    gateway: Arc<GatewayInner>,
    activity: Arc<ConnectionActivity>,
    peer: SocketAddr,
}

/// An event on a connection beside its requests.
enum Event {
    /// The gateway shuts down. False: the gateway no longer exists.
    Shutdown(bool),
    /// The idle check is due.
    IdleCheck,
}

impl Connection {
    pub(super) fn new(gateway: Arc<GatewayInner>, peer: SocketAddr) -> Self {
        Self { gateway, activity: Arc::default(), peer }
    }

    pub(super) async fn run(
        self,
        server: &auto::Builder<TokioExecutor>,
        socket: TcpStream,
        mut stopped: watch::Receiver<bool>,
    ) {
        let gateway = Arc::clone(&self.gateway);
        let activity = Arc::clone(&self.activity);
        let _open = OpenConnection::new(&gateway);
        // Fails only on a closed socket, which the first read reports.
        let _ = socket.set_nodelay(true);
        let io = TokioIo::new(WriteTimeout::new(socket, gateway.options.body_pause));
        let mut serving = pin!(server.serve_connection(io, self));
        let mut idle_check = tokio::time::interval(gateway.options.head_timeout);
        idle_check.reset();
        let mut last_started = 0;
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
                    return;
                }
                event = PollOnWake::new(event) => event,
            };
            match event {
                Event::Shutdown(false) => return,
                Event::Shutdown(true) => serving.as_mut().graceful_shutdown(),
                Event::IdleCheck => {
                    let started = activity.started();
                    if activity.is_idle() && started == last_started {
                        gateway.metrics.slow_connections.inc_by(u64::from(started == 0));
                        return;
                    }
                    last_started = started;
                }
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
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn call(&self, request: Request<Incoming>) -> ResponseFuture {
        self.activity.request_started();
        match self.gateway.dispatch(request, self.peer) {
            Dispatch::Ready(response) => ResponseFuture::Ready(Some(response)),
            Dispatch::Pending(pending) => {
                let client_request = ClientRequest::new(&self.activity);
                let gateway = Arc::clone(&self.gateway);
                ResponseFuture::Pending(Box::pin(gateway.resume(pending, client_request)))
            }
        }
    }
}

/// A response, or the future of one. A hit is ready and allocates no future.
pub(super) enum ResponseFuture {
    Ready(Option<Response<Body>>),
    Pending(Pin<Box<dyn Future<Output = Response<Body>> + Send>>),
}

impl Future for ResponseFuture {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Ready(response) => {
                Poll::Ready(Ok(response.take().expect("not polled after completion")))
            }
            Self::Pending(future) => future.as_mut().poll(cx).map(Ok),
        }
    }
}
