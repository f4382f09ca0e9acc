//! Connections: accepting, watching, ending them.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::body::Body;
use crate::gateway::{Gateway, Shared, Step};
use crate::guard::Guarded;
use crate::seldom::Seldom;

impl Gateway {
    /// Serves HTTP/1.1 and HTTP/2 (with prior knowledge) on `listener` until `shutdown` resolves;
    /// then takes no more, lets requests under way end within the drain time, and cuts the rest.
    pub async fn serve(&self, listener: TcpListener, shutdown: impl Future<Output = ()> + Send) {
        let server = Arc::new(self.server());
        let places = Arc::new(Semaphore::new(self.shared.options.max_connections));
        let (stop, stopped) = watch::channel(false);
        let mut connections = JoinSet::new();
        let mut shutdown = pin!(shutdown);
        loop {
            let accepted = tokio::select! {
                () = &mut shutdown => break,
                // Ended tasks are taken away as they end, or the set would grow for ever.
                Some(_) = connections.join_next() => continue,
                accepted = accept(&listener, &places) => accepted,
            };
            let Some((socket, peer, place)) = accepted else { continue };
            let connection =
                Connection { gateway: Arc::clone(&self.shared), activity: Arc::default(), peer };
            let (server, stopped) = (Arc::clone(&server), stopped.clone());
            connections.spawn(async move {
                connection.run(&server, socket, stopped).await;
                drop(place);
            });
        }
        drop(listener);
        stop.send_replace(true);
        let drained = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(self.shared.options.drain, drained).await.is_err() {
            tracing::warn!(cut = connections.len(), "connections did not end in time");
            connections.shutdown().await;
        }
    }

    fn server(&self) -> auto::Builder<TokioExecutor> {
        let options = &self.shared.options;
        let mut server = auto::Builder::new(TokioExecutor::new());
        server
            .http1()
            .timer(TokioTimer::new())
            // Slow heads are watched for per connection, which is cheaper than a timer per request.
            .header_read_timeout(None)
            .max_buf_size(options.max_head_bytes)
            .half_close(false);
        server
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(128)
            .max_header_list_size(u32::try_from(options.max_head_bytes).unwrap_or(u32::MAX))
            .keep_alive_interval(options.head_timeout)
            .keep_alive_timeout(options.head_timeout);
        server
    }
}

type Place = tokio::sync::OwnedSemaphorePermit;

/// Accepts once there is a place. `None`: the machine refused; the loop goes on after a breath.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, Place)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((socket, peer)) => Some((socket, peer, place)),
        Err(err) => {
            // Too many open files, most likely: ends by itself as connections end.
            tracing::warn!(error = %err, "can't accept a connection");
            tokio::time::sleep(Duration::from_millis(50)).await;
            None
        }
    }
}

/// What happens on one connection.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    begun: AtomicU64,
    in_flight: AtomicUsize,
}

/// A request that is being answered; the connection is not idle while one exists.
#[derive(Debug)]
pub(crate) struct InFlight(Arc<Activity>);

impl InFlight {
    fn new(activity: &Arc<Activity>) -> Self {
        activity.in_flight.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(activity))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One client connection.
struct Connection {
    gateway: Arc<Shared>,
    activity: Arc<Activity>,
    peer: SocketAddr,
}

impl Connection {
    async fn run(
        self,
        server: &auto::Builder<TokioExecutor>,
        socket: TcpStream,
        mut stopped: watch::Receiver<bool>,
    ) {
        let gateway = Arc::clone(&self.gateway);
        let activity = Arc::clone(&self.activity);
        let _open = Open::new(&gateway);
        // Fails only on a socket that is already gone, which the first read finds out.
        let _ = socket.set_nodelay(true);
        let io = TokioIo::new(Guarded::new(socket, gateway.options.body_pause));
        let mut serving = pin!(server.serve_connection(io, self));
        let mut watch = tokio::time::interval(gateway.options.head_timeout);
        watch.reset();
        let mut begun = 0;
        loop {
            let alarm = pin!(async {
                tokio::select! {
                    changed = stopped.changed() => Alarm::Stopped(changed.is_ok()),
                    _ = watch.tick() => Alarm::Tick,
                }
            });
            let alarm = tokio::select! {
                biased;
                ended = &mut serving => {
                    if let Err(err) = ended {
                        tracing::debug!(error = %err, "connection ended");
                    }
                    return;
                }
                alarm = Seldom::new(alarm) => alarm,
            };
            match alarm {
                Alarm::Stopped(false) => return,
                Alarm::Stopped(true) => serving.as_mut().graceful_shutdown(),
                Alarm::Tick => {
                    let now = activity.begun.load(Ordering::Relaxed);
                    let idle = activity.in_flight.load(Ordering::Relaxed) == 0;
                    if idle && now == begun {
                        gateway.metrics.slow.inc_by(u64::from(begun == 0));
                        return;
                    }
                    begun = now;
                }
            }
        }
    }
}

/// What a connection is told beside its requests.
enum Alarm {
    /// To end; false: nobody is there any more to say so.
    Stopped(bool),
    /// To look whether its client still does something.
    Tick,
}

/// Keeps the gauge of open connections.
struct Open<'a>(&'a Shared);

impl<'a> Open<'a> {
    fn new(gateway: &'a Shared) -> Self {
        gateway.metrics.connections.inc();
        Self(gateway)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.metrics.connections.dec();
    }
}

impl Service<Request<Incoming>> for Connection {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answering;

    fn call(&self, request: Request<Incoming>) -> Answering {
        self.activity.begun.fetch_add(1, Ordering::Relaxed);
        match self.gateway.begin(request, self.peer) {
            Step::Done(response) => Answering::Done(Some(response)),
            Step::Wait(waiting) => {
                let in_flight = InFlight::new(&self.activity);
                Answering::Waiting(Box::pin(Arc::clone(&self.gateway).go_on(waiting, in_flight)))
            }
        }
    }
}

/// An answer, now or later; hits are there at once and need no allocation for a future.
pub(crate) enum Answering {
    Done(Option<Response<Body>>),
    Waiting(Pin<Box<dyn Future<Output = Response<Body>> + Send>>),
}

impl Future for Answering {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Done(response) => {
                Poll::Ready(Ok(response.take().expect("a future is not polled after its end")))
            }
            Self::Waiting(future) => future.as_mut().poll(cx).map(Ok),
        }
    }
}
