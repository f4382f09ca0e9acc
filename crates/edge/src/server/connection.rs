//! One client connection: its protocol, its timeouts, its shutdown.

use std::pin::{Pin, pin};
use std::sync::Arc;

use bytes::Bytes;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use listen::{ClientStream, Switch};
use prometheus_client::metrics::gauge::Gauge;
use tokio::io::AsyncReadExt;
use tokio::sync::watch;

use super::h2_stream::StreamExecutor;
use super::http_server::{PREFACE, Protocol, http1_server, http2_server};
use super::idle_check::{IdleCheck, Idleness};
use super::request_service::RequestService;
use super::wake_gate::PollOnWake;
use super::write_timeout::WriteTimeout;
use crate::gateway::Gateway;
use crate::http::client::Peer;
use crate::http::in_flight::ConnectionActivity;
use crate::telemetry::metrics::Metrics;

/// One client connection.
///
/// While it waits for bytes it is *parked*: it has a socket and a timer, and no HTTP server, whose buffers and state
/// would be ten times as much memory. The server of HTTP/1.1 is created for the first bytes, and ends at the first idle
/// check between two messages. HTTP/2 has a state for the whole connection, and is not parked.
///
/// It keeps nothing of the gateway itself, which it may outlive by far: each request is the present one's.
pub(super) struct Connection {
    gateway: Switch<Gateway>,
    metrics: Arc<Metrics>,
    activity: Arc<ConnectionActivity>,
    peer: Peer,
    idle: IdleCheck,
    stopped: watch::Receiver<bool>,
}

type Http1Connection = http1::Connection<TokioIo<WriteTimeout>, RequestService>;

/// An event on a connection beside its requests.
enum Event {
    /// The gateway shuts down. False: the gateway no longer exists.
    Shutdown(bool),
    /// The idle check is due.
    IdleCheck,
}

impl Connection {
    pub(super) fn new(
        gateway: Switch<Gateway>,
        peer: Peer,
        stopped: watch::Receiver<bool>,
    ) -> Self {
        let (metrics, head_timeout) = gateway
            .with(|Gateway { inner }| (Arc::clone(&inner.metrics), inner.options.head_timeout));
        let idle = IdleCheck::new(head_timeout);
        Self { gateway, metrics, activity: Arc::default(), peer, idle, stopped }
    }

    pub(super) async fn run(mut self, socket: ClientStream) {
        let metrics = Arc::clone(&self.metrics);
        let _open = Counted::new(&metrics.connections);
        socket.set_nodelay();
        let activity = Arc::clone(&self.activity);
        let pace = self.gateway.with(|Gateway { inner }| inner.client_pace());
        let mut socket = WriteTimeout::new(socket, activity, pace, metrics.slow_readers.clone());
        while let Some(protocol) = self.wait_for_bytes(&mut socket).await {
            // Boxed, so that a parked connection has no memory for them.
            let parked = match protocol {
                Protocol::Http1 => Box::pin(self.serve_http1(socket)).await,
                Protocol::Http2 => {
                    Box::pin(self.serve_http2(socket)).await;
                    None
                }
            };
            match parked {
                Some(parked) => socket = parked,
                None => return,
            }
        }
    }

    /// Waits until it is known which protocol the next bytes are of. `None`: the connection ends.
    async fn wait_for_bytes(&mut self, socket: &mut WriteTimeout) -> Option<Protocol> {
        let metrics = Arc::clone(&self.metrics);
        let _parked = Counted::new(&metrics.parked_connections);
        let mut first = [0; PREFACE.len()];
        let mut size = 0;
        let mut expired = pin!(tokio::time::sleep(self.idle.time_left()));
        while size < first.len() {
            tokio::select! {
                biased;
                read = socket.read(&mut first[size..]) => match read {
                    Ok(0) if size > 0 => break,
                    Ok(0) | Err(_) => return None,
                    Ok(read) => size += read,
                },
                _ = self.stopped.changed() => return None,
                () = &mut expired => {
                    self.expire();
                    return None;
                }
            }
            // After its first message, a connection keeps its protocol.
            if self.activity.started() > 0 || Protocol::of(&first[..size]).is_some() {
                break;
            }
        }
        socket.unread(Bytes::copy_from_slice(&first[..size]));
        self.idle.restart();
        match Protocol::of(&first[..size]) {
            Some(Protocol::Http2) if self.activity.started() == 0 => Some(Protocol::Http2),
            _ => Some(Protocol::Http1),
        }
    }

    /// Serves requests of HTTP/1.1. Returns the socket when it is idle.
    async fn serve_http1(&mut self, socket: WriteTimeout) -> Option<WriteTimeout> {
        let service = self.service(None);
        let server = self.gateway.with(|Gateway { inner }| http1_server(&inner.options));
        let mut serving = server.serve_connection(TokioIo::new(socket), service);
        let mut idle_check = self.idle_checks();
        let mut is_stopping = false;
        loop {
            let event = {
                let event = pin!(next_event(&mut self.stopped, &mut idle_check));
                tokio::select! {
                    biased;
                    ended = &mut serving => {
                        log_end(ended);
                        break;
                    }
                    event = PollOnWake::new(event) => event,
                }
            };
            match event {
                Event::Shutdown(false) => return None,
                Event::Shutdown(true) => {
                    is_stopping = true;
                    Pin::new(&mut serving).graceful_shutdown();
                }
                Event::IdleCheck => match self.idle.check(&self.activity) {
                    Idleness::Idle if !is_stopping && self.activity.is_between_messages() => {
                        return Some(reclaim(serving));
                    }
                    Idleness::Active | Idleness::Idle => {}
                    Idleness::Expired => {
                        self.expire();
                        return None;
                    }
                },
            }
        }
        let tunnel = self.activity.take_tunnel()?;
        // A tunnel has no end that a shutdown could wait for.
        tokio::select! {
            () = tunnel(Box::new(reclaim(serving))) => {}
            _ = self.stopped.wait_for(|stopped| *stopped) => {}
        }
        None
    }

    /// Serves requests of HTTP/2 until the connection ends.
    async fn serve_http2(&mut self, socket: WriteTimeout) {
        let pace = self.gateway.with(|Gateway { inner }| inner.client_pace());
        let streams = StreamExecutor::new(pace, self.metrics.slow_readers.clone());
        let service = self.service(Some(streams.clone()));
        let server = self.gateway.with(|Gateway { inner }| http2_server(&inner.options, streams));
        let mut serving = server.serve_connection(TokioIo::new(socket), service);
        let mut idle_check = self.idle_checks();
        loop {
            let event = {
                let event = pin!(next_event(&mut self.stopped, &mut idle_check));
                tokio::select! {
                    biased;
                    ended = &mut serving => return log_end(ended),
                    event = PollOnWake::new(event) => event,
                }
            };
            match event {
                Event::Shutdown(false) => return,
                Event::Shutdown(true) => Pin::new(&mut serving).graceful_shutdown(),
                Event::IdleCheck => {
                    if self.idle.check(&self.activity) == Idleness::Expired {
                        return self.expire();
                    }
                }
            }
        }
    }

    fn service(&self, streams: Option<StreamExecutor>) -> RequestService {
        let (gateway, activity) = (self.gateway.clone(), Arc::clone(&self.activity));
        RequestService { gateway, activity, peer: self.peer, streams }
    }

    fn idle_checks(&self) -> tokio::time::Interval {
        let mut checks = tokio::time::interval(self.idle.interval());
        checks.reset();
        checks
    }

    /// Counts a connection that is closed because it is idle, if its client has sent no request at all.
    fn expire(&self) {
        let is_slow = self.activity.started() == 0;
        self.metrics.slow_connections.inc_by(u64::from(is_slow));
    }
}

/// Takes the socket from a server, with the bytes that the server has read and not used.
fn reclaim(server: Http1Connection) -> WriteTimeout {
    let parts = server.into_parts();
    let mut socket = parts.io.into_inner();
    socket.unread(parts.read_buf);
    socket
}

async fn next_event(
    stopped: &mut watch::Receiver<bool>,
    idle_check: &mut tokio::time::Interval,
) -> Event {
    tokio::select! {
        changed = stopped.changed() => Event::Shutdown(changed.is_ok()),
        _ = idle_check.tick() => Event::IdleCheck,
    }
}

fn log_end(ended: hyper::Result<()>) {
    if let Err(err) = ended {
        tracing::debug!(error = %err, "connection ended");
    }
}

/// Counts a connection in a gauge.
struct Counted<'a>(&'a Gauge);

impl<'a> Counted<'a> {
    fn new(gauge: &'a Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}
