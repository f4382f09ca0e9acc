//! The listener: accepts client connections and drains them at shutdown.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

use super::connection::Connection;
use super::peer::identify;
use crate::gateway::Gateway;

/// The most bytes of a response that a socket takes before the client has room for them. Without it, the
/// system takes megabytes, and reports no progress until the client has read half of them.
const UNSENT_BYTES: u32 = 64 << 10;

/// The pause after a failed `accept`.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

impl Gateway {
    /// Serves HTTP/1.1 and HTTP/2 (with prior knowledge) on `listener` until `shutdown` resolves.
    /// Then closes the listener, waits up to the drain time for requests in flight, and closes the
    /// remaining connections.
    pub async fn serve(&self, listener: TcpListener, shutdown: impl Future<Output = ()> + Send) {
        limit_unsent(&listener);
        let slots = Arc::new(Semaphore::new(self.inner.options.max_connections));
        let (stop, stopped) = watch::channel(false);
        let mut connections = JoinSet::new();
        let mut shutdown = pin!(shutdown);
        loop {
            let accepted = tokio::select! {
                () = &mut shutdown => break,
                // Removes ended tasks; otherwise the set would grow without bound.
                Some(_) = connections.join_next() => continue,
                accepted = accept(&listener, &slots) => accepted,
            };
            let Some((mut socket, peer, slot)) = accepted else { continue };
            let (gateway, mut stopped) = (Arc::clone(&self.inner), stopped.clone());
            connections.spawn(async move {
                let peer = tokio::select! {
                    peer = identify(&gateway, &mut socket, peer) => peer,
                    _ = stopped.changed() => None,
                };
                if let Some(peer) = peer {
                    Connection::new(gateway, peer).run(socket, stopped).await;
                }
                drop(slot);
            });
        }
        drop(listener);
        stop.send_replace(true);
        let drained = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(self.inner.options.drain, drained).await.is_err() {
            tracing::warn!(cut = connections.len(), "connections closed after the drain time");
            connections.shutdown().await;
        }
    }
}

/// Limits the unsent bytes of the connections that `listener` will accept: they inherit the option.
fn limit_unsent(listener: &TcpListener) {
    if let Err(err) = SockRef::from(listener).set_tcp_notsent_lowat(UNSENT_BYTES) {
        tracing::warn!(error = %err, "can't limit the unsent bytes of connections");
    }
}

/// Accepts a connection once a slot is free. `None`: `accept` failed; the caller tries again.
async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((socket, peer)) => Some((socket, peer, slot)),
        Err(err) => {
            // Most likely too many open files, which resolves as connections end.
            tracing::warn!(error = %err, "can't accept a connection");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}
