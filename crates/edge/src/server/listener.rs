//! The listener: serves client connections and drains them at shutdown.

use std::net::SocketAddr;
use std::pin::pin;

use listen::{Accepted, Acceptor, ClientStream, Security, Switch};
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::connection::Connection;
use super::peer::identify;
use crate::gateway::Gateway;
use crate::http::client::Peer;
use crate::http::target::Scheme;

/// The most bytes of a response that a socket takes before the client has room for them. Without it, the
/// system takes megabytes, and reports no progress until the client has read half of them.
const UNSENT_BYTES: u32 = 64 << 10;

impl Gateway {
    /// Serves HTTP/1.1 and HTTP/2 (by ALPN where the listener is encrypted, else with prior knowledge) on the
    /// connections of `acceptor` until `shutdown` resolves. Then closes the listener, waits up to the drain time for
    /// requests in flight, and closes the remaining connections.
    pub async fn serve(&self, acceptor: Acceptor, shutdown: impl Future<Output = ()> + Send) {
        Self::serve_current(Switch::new(self.clone()), acceptor, shutdown).await;
    }

    /// Serves as [`serve`](Self::serve) does, each request by the gateway on which `current` stands when it arrives. The
    /// pace and the timeouts of a connection are those of the gateway that has accepted it.
    pub async fn serve_current(
        current: Switch<Self>,
        acceptor: Acceptor,
        shutdown: impl Future<Output = ()> + Send,
    ) {
        limit_unsent(acceptor.listener());
        let (stop, stopped) = watch::channel(false);
        let mut connections = JoinSet::new();
        let mut shutdown = pin!(shutdown);
        let is_proxy = |peer| current.with(|gateway| gateway.inner.options.proxies.trusts(peer));
        loop {
            let Accepted { socket, peer, security, slot } = tokio::select! {
                () = &mut shutdown => break,
                // Removes ended tasks; otherwise the set would grow without bound.
                Some(_) = connections.join_next() => continue,
                accepted = acceptor.accept_except(is_proxy) => accepted,
            };
            let (current, mut stopped) = (current.clone(), stopped.clone());
            connections.spawn(async move {
                // Boxed, so that an open connection has no memory for it.
                let opening = Box::pin(open(&current, socket, peer, security));
                let opened = tokio::select! {
                    opened = opening => opened,
                    _ = stopped.changed() => None,
                };
                if let Some((stream, peer)) = opened {
                    Connection::new(current, peer, stopped).run(stream).await;
                }
                drop(slot);
            });
        }
        drop(acceptor);
        stop.send_replace(true);
        let drained = async { while connections.join_next().await.is_some() {} };
        let limit = current.with(Self::drain_timeout);
        if tokio::time::timeout(limit, drained).await.is_err() {
            tracing::warn!(cut = connections.len(), "connections closed after the drain time");
            connections.shutdown().await;
        }
    }
}

/// Identifies the peer of a connection from `address`, and encrypts the connection if the listener is encrypted: a
/// PROXY header comes before TLS.
async fn open(
    current: &Switch<Gateway>,
    mut socket: TcpStream,
    address: SocketAddr,
    security: Security,
) -> Option<(ClientStream, Peer)> {
    let peer = identify(&current.get().inner, &mut socket, address).await?;
    let stream = security.establish(socket, peer.address).await?;
    let scheme = if stream.is_tls() { Scheme::Https } else { peer.scheme };
    Some((stream, Peer { scheme, ..peer }))
}

/// Limits the unsent bytes of the connections that `listener` will accept: they inherit the option.
fn limit_unsent(listener: &TcpListener) {
    if let Err(err) = SockRef::from(listener).set_tcp_notsent_lowat(UNSENT_BYTES) {
        tracing::warn!(error = %err, "can't limit the unsent bytes of connections");
    }
}
