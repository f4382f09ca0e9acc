//! Accepting connections.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use crate::client::ClientNetwork;
use crate::descriptors::{DescriptorReserve, Priority, is_out_of_descriptors};
use crate::limits::{ConnectionLimits, ConnectionSlot, ConnectionSlots};
use crate::metrics::ListenerMetrics;
use crate::rare_log::RareLog;
use crate::security::Security;

/// The pause after a failed `accept`.
const PAUSE: Duration = Duration::from_millis(20);

/// Accepts the connections of one listener.
#[derive(Debug)]
pub struct Acceptor {
    name: &'static str,
    listener: TcpListener,
    slots: ConnectionSlots,
    reserve: Arc<DescriptorReserve>,
    priority: Priority,
    metrics: ListenerMetrics,
    security: Security,
    refused: Mutex<RareLog>,
    failed: Mutex<RareLog>,
}

/// An accepted connection.
#[derive(Debug)]
pub struct Accepted {
    /// The connection.
    pub socket: TcpStream,
    /// The address of the client.
    pub peer: SocketAddr,
    /// Encrypts it, if the listener is encrypted.
    pub security: Security,
    /// Counts the connection as open until it is dropped.
    pub slot: ConnectionSlot,
}

impl Acceptor {
    /// Creates an acceptor. `name`: of the listener, in logs.
    #[must_use]
    pub fn new(
        name: &'static str,
        listener: TcpListener,
        limits: ConnectionLimits,
        (reserve, priority): (Arc<DescriptorReserve>, Priority),
        metrics: ListenerMetrics,
    ) -> Self {
        Self {
            name,
            listener,
            slots: ConnectionSlots::new(limits),
            reserve,
            priority,
            metrics,
            security: Security::Plain,
            refused: Mutex::default(),
            failed: Mutex::default(),
        }
    }

    /// Returns the acceptor of a listener whose connections are encrypted as `security` says.
    #[must_use]
    pub fn with_security(self, security: Security) -> Self {
        Self { security, ..self }
    }

    /// Creates the acceptor of a listener that shares no descriptors with others of the process.
    #[must_use]
    pub fn unshared(name: &'static str, listener: TcpListener, limits: ConnectionLimits) -> Self {
        let reserve = (Arc::new(DescriptorReserve::none()), Priority::Normal);
        Self::new(name, listener, limits, reserve, ListenerMetrics::default())
    }

    /// Returns the name of the listener, in logs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Returns the listener.
    #[must_use]
    pub fn listener(&self) -> &TcpListener {
        &self.listener
    }

    /// Waits for the next connection that the limits allow. A call that is dropped loses no connection.
    pub async fn accept(&self) -> Accepted {
        self.accept_except(|_| false).await
    }

    /// Waits as [`accept`](Self::accept) does. A peer that `stands_for_many` clients, such as a load balancer, is not
    /// limited as one client.
    pub async fn accept_except(&self, stands_for_many: impl Fn(IpAddr) -> bool) -> Accepted {
        loop {
            while self.priority == Priority::Normal && !self.reserve.fill() {
                self.starved();
                tokio::time::sleep(PAUSE).await;
            }
            let free = self.slots.room().await;
            match self.listener.accept().await {
                Ok((socket, peer)) => {
                    let is_client = !stands_for_many(peer.ip().to_canonical());
                    let client = is_client.then(|| ClientNetwork::at(peer.ip()));
                    match self.slots.take(free, client) {
                        Some(slot) => {
                            let security = self.security.clone();
                            return Accepted { socket, peer, security, slot };
                        }
                        None => self.refuse(peer.ip()),
                    }
                }
                Err(err) if is_out_of_descriptors(&err) => {
                    self.starved();
                    if self.priority == Priority::Normal || !self.reserve.spend() {
                        tokio::time::sleep(PAUSE).await;
                    }
                }
                Err(err) if is_of_one_connection(&err) => {
                    tracing::debug!(listener = self.name, error = %err, "connection lost");
                }
                Err(err) => {
                    self.log_failure(&err.to_string());
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    fn refuse(&self, client: IpAddr) {
        self.metrics.refused.inc();
        if let Some(count) = self.refused.lock().due(Instant::now()) {
            tracing::warn!(
                listener = self.name,
                %client,
                count,
                "connections closed: the client has as many as one client may have"
            );
        }
    }

    fn starved(&self) {
        self.metrics.starved.inc();
        self.log_failure("the process has no file descriptors left; raise `ulimit -n`");
    }

    fn log_failure(&self, error: &str) {
        if let Some(count) = self.failed.lock().due(Instant::now()) {
            tracing::warn!(listener = self.name, error, count, "can't accept connections");
        }
    }
}

/// Whether an error of `accept` is one of the connection that was to be accepted, such as a reset.
fn is_of_one_connection(err: &io::Error) -> bool {
    matches!(
        err.kind(),
        ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionRefused
            | ErrorKind::Interrupted
            | ErrorKind::NetworkUnreachable
            | ErrorKind::HostUnreachable
            | ErrorKind::TimedOut
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acceptor(limits: ConnectionLimits) -> (Acceptor, SocketAddr) {
        let listener = crate::bind(([127, 0, 0, 1], 0).into(), 16).expect("a free port");
        let address = listener.local_addr().expect("bound");
        (Acceptor::unshared("test", listener, limits), address)
    }

    #[tokio::test]
    async fn connection_beyond_the_client_limit_closed() {
        let (acceptor, address) = acceptor(ConnectionLimits { total: 4, per_client: 1 });
        let _first = TcpStream::connect(address).await.expect("connects");
        let accepted = acceptor.accept().await;
        let second = TcpStream::connect(address).await.expect("connects");
        let mut byte = [0];
        let closed = async {
            second.readable().await.expect("an event");
            second.try_read(&mut byte)
        };
        tokio::select! {
            _ = acceptor.accept() => panic!("the client has all that it may have"),
            closed = closed => assert!(matches!(closed, Ok(0) | Err(_)), "{closed:?}"),
        }
        assert_eq!(acceptor.metrics.refused.get(), 1);
        drop(accepted);
        let _third = TcpStream::connect(address).await.expect("connects");
        acceptor.accept().await;
    }

    #[tokio::test]
    async fn peer_of_many_clients_not_limited_as_one() {
        let (acceptor, address) = acceptor(ConnectionLimits { total: 3, per_client: 1 });
        let is_proxy = |peer: IpAddr| peer.is_loopback();
        let mut open = Vec::new();
        for _ in 0..3 {
            let socket = TcpStream::connect(address).await.expect("connects");
            open.push((socket, acceptor.accept_except(is_proxy).await));
        }
        assert_eq!(acceptor.metrics.refused.get(), 0);
        let _fourth = TcpStream::connect(address).await.expect("connects");
        let waits = tokio::time::timeout(PAUSE, acceptor.accept_except(is_proxy)).await;
        assert!(waits.is_err(), "the limit in all holds");
    }
}
