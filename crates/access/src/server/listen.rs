//! Accepts the connections of a private listener, serves them, and drains them at shutdown.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use listen::{Accepted, Acceptor, ClientStream};
use tls::ClientTrust;
use tokio::io::AsyncReadExt;
use tokio::sync::watch;
use tokio::task::JoinSet;

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

/// The interval at which a connection is checked for being idle.
const IDLE_CHECK_INTERVAL: Duration = Duration::from_secs(1);

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
    let (name, mut connections) = (acceptor.name(), JoinSet::new());
    let (stop, stopped) = watch::channel(false);
    let mut shutdown = pin!(shutdown);
    loop {
        let Accepted { socket, peer, security, slot } = tokio::select! {
            () = &mut shutdown => break,
            // Removes ended tasks; otherwise the set would grow without bound.
            Some(_) = connections.join_next() => continue,
            accepted = acceptor.accept() => accepted,
        };
        let address = peer.ip().to_canonical();
        let (server, service) = (server.clone(), service.clone());
        let mut stopped = stopped.clone();
        connections.spawn(async move {
            let stream = tokio::select! {
                stream = security.establish(socket, address) => stream,
                _ = stopped.changed() => None,
            };
            if let Some(stream) = stream {
                let peer = Peer::new(address, stream.client_certificate());
                serve_connection(name, &server, service, peer, stream, stopped).await;
            }
            drop(slot);
        });
    }
    drop(acceptor);
    stop.send_replace(true);
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN_TIMEOUT, drained).await.is_err() {
        tracing::warn!(listener = name, "connections closed after the drain time");
    }
}

/// The reasons to end a connection after its last response.
struct ConnectionEnd {
    /// The listener has been closed.
    stopped: watch::Receiver<bool>,
    /// The trust in the client's certificate: a new handshake may refuse it.
    trust: Option<Box<ClientTrust>>,
}

impl ConnectionEnd {
    async fn due(&mut self) {
        match &mut self.trust {
            None => drop(self.stopped.changed().await),
            Some(trust) => tokio::select! {
                _ = self.stopped.changed() => {}
                () = trust.changed() => {}
            },
        }
    }
}

/// Serves the requests of one connection. While it waits for a request, it has no server, whose buffers would be most of
/// its memory.
async fn serve_connection<S, B>(
    name: &'static str,
    server: &http1::Builder,
    service: S,
    peer: Peer,
    mut stream: ClientStream,
    stopped: watch::Receiver<bool>,
) where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: HttpBody + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let requests = Arc::<Requests>::default();
    let mut end = ConnectionEnd { stopped, trust: stream.take_client_trust() };
    let mut socket = timed(stream, &requests);
    loop {
        let mut first = [0; 32];
        let size = tokio::select! {
            biased;
            read = socket.read(&mut first) => match read {
                Ok(0) | Err(_) => return,
                Ok(size) => size,
            },
            () = end.due() => return,
        };
        socket.unread(Bytes::copy_from_slice(&first[..size]));
        let service = of_peer(service.clone(), peer.clone(), Arc::clone(&requests));
        let serving = server.serve_connection(TokioIo::new(socket), service);
        // Boxed, so that a waiting connection has no memory for it.
        let served = Box::pin(serve_until_idle(serving, &requests, &mut end)).await;
        match served {
            Ok(Some(idle)) => socket = idle,
            Ok(None) => return,
            Err(err) => return tracing::debug!(listener = name, error = %err, "connection ended"),
        }
    }
}

/// Serves requests. Returns the socket when the connection is idle.
async fn serve_until_idle<S, B>(
    mut serving: http1::Connection<TokioIo<TimedSocket>, S>,
    requests: &Requests,
    end: &mut ConnectionEnd,
) -> hyper::Result<Option<TimedSocket>>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    B: HttpBody + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (mut is_stopping, mut idle_since) = (false, None);
    let mut checks = tokio::time::interval(IDLE_CHECK_INTERVAL);
    loop {
        tokio::select! {
            biased;
            ended = &mut serving => return ended.map(|()| None),
            () = end.due(), if !is_stopping => {
                is_stopping = true;
                Pin::new(&mut serving).graceful_shutdown();
            }
            _ = checks.tick(), if !is_stopping => {
                let idle = requests.idle_after();
                if idle.is_some() && idle == idle_since {
                    let parts = serving.into_parts();
                    let mut socket = parts.io.into_inner();
                    socket.unread(parts.read_buf);
                    return Ok(Some(socket));
                }
                idle_since = idle;
            }
        }
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
        let mut request = request.map(|body| Body::new(body, BODY_TIMEOUT, &requests));
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

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, Full};
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// Serves one connection that sends `request`, and returns whether its socket comes back, with the next bytes.
    async fn given_back(request: &'static [u8]) -> Option<Vec<u8>> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (mut client, socket) = (client.expect("connects"), accepted.expect("accepted").0);
        client.write_all(request).await.expect("written");
        let service = service_fn(|request: Request<Body>| async {
            let size = request.into_body().collect().await.map(|body| body.to_bytes().len());
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(format!("{size:?}"))))
        });
        let requests = Arc::<Requests>::default();
        let peer = Peer::new(address.ip(), None);
        let service = of_peer(service, peer, Arc::clone(&requests));
        let mut server = http1::Builder::new();
        server.timer(TokioTimer::new());
        let socket = timed(socket.into(), &requests);
        let serving = server.serve_connection(TokioIo::new(socket), service);
        let (_stop, stopped) = watch::channel(false);
        let mut end = ConnectionEnd { stopped, trust: None };
        let served = serve_until_idle(serving, &requests, &mut end).await.expect("no error");
        let mut socket = served?;
        client.write_all(b"next").await.expect("written");
        client.shutdown().await.expect("closed");
        let mut next = Vec::new();
        socket.read_to_end(&mut next).await.expect("read");
        Some(next)
    }

    #[tokio::test]
    async fn idle_connection_gives_its_socket_back() {
        for request in [
            &b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"[..],
            b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n{}",
            b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
            b"GET / HTTP/1.1\r\nhost: a\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n",
        ] {
            let next = given_back(request).await;
            assert_eq!(
                next.as_deref(),
                Some(&b"next"[..]),
                "{:?}",
                request.escape_ascii().to_string()
            );
        }
        let last = given_back(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
        assert_eq!(last, None);
    }
}
