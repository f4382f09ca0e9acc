//! The admin listener's connections.

use std::io;
use std::net::SocketAddr;

use axum::serve::Listener;
use listen::{Accepted, Acceptor};

/// Hands the connections of an acceptor to axum.
pub(crate) struct AdminListener(pub(crate) Acceptor);

impl Listener for AdminListener {
    type Io = Accepted;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Accepted, SocketAddr) {
        let accepted = self.0.accept().await;
        let peer = accepted.peer;
        (accepted, peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.listener().local_addr()
    }
}
