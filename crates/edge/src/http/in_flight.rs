//! Guards that a message holds until its body ends.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};

/// The socket of a client.
pub(crate) trait ClientSocket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ClientSocket for T {}

/// A WebSocket that the connection becomes after the response has been sent.
pub(crate) type Tunnel =
    Box<dyn FnOnce(Box<dyn ClientSocket>) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

#[derive(Default)]
struct NextTunnel(Mutex<Option<Tunnel>>);

impl fmt::Debug for NextTunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NextTunnel").field(&self.0.lock().is_some()).finish()
    }
}

/// Activity of one client connection.
#[derive(Debug, Default)]
pub(crate) struct ConnectionActivity {
    started: AtomicU64,
    in_flight: AtomicUsize,
    written_bytes: AtomicU64,
    is_write_blocked: AtomicBool,
    /// Whether the socket may still hold back bytes that it has taken.
    is_unflushed: AtomicBool,
    /// Whether bytes have arrived after the head of the last request, or it has a body.
    is_receiving: AtomicBool,
    is_last_request: AtomicBool,
    tunnel: NextTunnel,
}

impl ConnectionActivity {
    /// Counts a request whose head has arrived.
    pub(crate) fn request_started(&self, has_body: bool) {
        self.started.fetch_add(1, Ordering::Relaxed);
        self.is_receiving.store(has_body, Ordering::Relaxed);
    }

    /// Records that bytes have arrived.
    pub(crate) fn received(&self) {
        self.is_receiving.store(true, Ordering::Relaxed);
    }

    /// The number of requests whose head has arrived since the connection was accepted.
    pub(crate) fn started(&self) -> u64 {
        self.started.load(Ordering::Relaxed)
    }

    /// Records that the client sends no further request.
    pub(crate) fn last_request(&self) {
        self.is_last_request.store(true, Ordering::Relaxed);
    }

    /// Whether the client waits for the response to its last request.
    pub(crate) fn awaits_last_response(&self) -> bool {
        self.is_last_request.load(Ordering::Relaxed)
    }

    /// Takes the tunnel that the connection becomes.
    pub(crate) fn take_tunnel(&self) -> Option<Tunnel> {
        self.tunnel.0.lock().take()
    }

    /// Counts bytes that the socket has taken.
    pub(crate) fn wrote(&self, bytes: u64) {
        self.written_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.is_write_blocked.store(false, Ordering::Relaxed);
        self.is_unflushed.store(true, Ordering::Relaxed);
    }

    /// Records that the system has all bytes.
    pub(crate) fn flushed(&self) {
        self.is_unflushed.store(false, Ordering::Relaxed);
    }

    /// Records that a write waits for the client.
    pub(crate) fn write_blocked(&self) {
        self.is_write_blocked.store(true, Ordering::Relaxed);
    }

    /// The bytes that the socket has taken since the connection was accepted.
    pub(crate) fn written_bytes(&self) -> u64 {
        self.written_bytes.load(Ordering::Relaxed)
    }

    /// Whether no request is in flight and no response is left to be written.
    pub(crate) fn is_idle(&self) -> bool {
        self.in_flight.load(Ordering::Relaxed) == 0
            && !self.is_write_blocked.load(Ordering::Relaxed)
    }

    /// Whether the connection is between two messages of HTTP/1.1, with all bytes of the last ones written, and read.
    /// Whether a body has been read to its end is not known, so a request with one counts until the next.
    pub(crate) fn is_between_messages(&self) -> bool {
        self.is_idle()
            && !self.is_unflushed.load(Ordering::Relaxed)
            && !self.is_receiving.load(Ordering::Relaxed)
    }
}

/// A client's request in flight. Its connection is not idle while the guard exists.
#[derive(Debug)]
pub(crate) struct ClientRequest(Arc<ConnectionActivity>);

impl ClientRequest {
    pub(crate) fn new(activity: &Arc<ConnectionActivity>) -> Self {
        activity.in_flight.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(activity))
    }

    /// Makes the connection a tunnel after the response to this request.
    pub(crate) fn become_tunnel(&self, tunnel: Tunnel) {
        *self.0.tunnel.0.lock() = Some(tunnel);
    }
}

impl Drop for ClientRequest {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
