//! Accepts the connections of a private listener, serves them, and drains them at shutdown.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Buf;
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use listen::{Accepted, Acceptor, ClientStream};
use tokio::sync::watch;

use super::body::Body;
use super::socket::{Requests, SocketTimeouts, TimedSocket};
use crate::peer::Peer;

/// The time limit for requests in flight to end after shutdown begins.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// The time limits of a connection. Between two requests it is longer than the 60 s of common clients and
/// proxies, so that they close the connection first and no request meets a closed one.
const TIMEOUTS: SocketTimeouts = SocketTimeouts {
    head: Duration::from_secs(10),
    idle: Duration::from_secs(75),
    write: Duration::from_secs(30),
};

/// The time limit of a request's body.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// The largest head of a request, and the read buffer of a connection, in bytes.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// Serves HTTP/1.1 on the connections of `acceptor` until `shutdown` resolves. Then closes the listener and
/// waits up to ten seconds for requests in flight. Each request has the extension [`Peer`].
pub async fn serve<S, B>(acceptor: Acceptor, service: S, shutdown: impl Future<Output = ()> + Send)
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: HttpBody + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).half_close(false).max_buf_size(HEAD_BYTES_MAX);
    let (name, graceful) = (acceptor.name(), GracefulShutdown::new());
    let (stop, stopped) = watch::channel(false);
    let mut shutdown = pin!(shutdown);
    loop {
        let Accepted { socket, peer, security, slot } = tokio::select! {
            () = &mut shutdown => break,
            accepted = acceptor.accept() => accepted,
        };
        let address = peer.ip().to_canonical();
        let (server, service, watcher) = (server.clone(), service.clone(), graceful.watcher());
        let mut stopped = stopped.clone();
        tokio::spawn(async move {
            let stream = tokio::select! {
                stream = security.establish(socket, address) => stream,
                _ = stopped.changed() => None,
            };
            if let Some(stream) = stream {
                let peer = Peer::new(address, stream.client_certificate());
                let requests = Arc::<Requests>::default();
                let socket = timed(stream, &requests);
                let service = of_peer(service, peer, requests);
                let connection = server.serve_connection(TokioIo::new(socket), service);
                if let Err(err) = watcher.watch(connection).await {
                    tracing::debug!(listener = name, error = %err, "connection ended");
                }
            }
            drop(slot);
        });
    }
    drop(acceptor);
    stop.send_replace(true);
    if tokio::time::timeout(DRAIN_TIMEOUT, graceful.shutdown()).await.is_err() {
        tracing::warn!(listener = name, "connections closed after the drain time");
    }
}

fn timed(stream: ClientStream, requests: &Arc<Requests>) -> TimedSocket {
    stream.set_nodelay();
    TimedSocket::new(stream, Arc::clone(requests), TIMEOUTS)
}

/// Returns the service for the requests of one connection.
fn of_peer<S, B>(
    service: S,
    peer: Peer,
    requests: Arc<Requests>,
) -> impl Service<Request<Incoming>, Response = Response<Tracked<B>>, Error = Infallible, Future: Send>
+ Send
+ 'static
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible> + Send + 'static,
    S::Future: Send,
    B: HttpBody + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    service_fn(move |request: Request<Incoming>| {
        let in_flight = InFlight::new(&requests);
        let mut request = request.map(|body| Body::new(body, BODY_TIMEOUT));
        request.extensions_mut().insert(peer.clone());
        let response = service.call(request);
        async move {
            let response = response.await?;
            Ok::<_, Infallible>(response.map(|body| Tracked { body, _in_flight: in_flight }))
        }
    })
}

/// One request in flight, until its response has been handed over.
struct InFlight(Arc<Requests>);

impl InFlight {
    fn new(requests: &Arc<Requests>) -> Self {
        requests.start();
        Self(Arc::clone(requests))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// A response's body whose end ends the request.
struct Tracked<B> {
    body: B,
    _in_flight: InFlight,
}

impl<B: HttpBody<Data: Buf> + Unpin> HttpBody for Tracked<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
