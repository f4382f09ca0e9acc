//! The peer of a connection: its own address, or that which a trusted proxy states by the PROXY protocol.

use std::io;
use std::net::SocketAddr;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::proxy_header::{self, Source, Step};
use crate::gateway::GatewayInner;
use crate::http::client::Peer;
use crate::http::target::Scheme;

/// Identifies the peer of a connection from `address`. `None`: it is to send a PROXY header, and has not.
pub(super) async fn identify(
    gateway: &GatewayInner,
    socket: &mut TcpStream,
    address: SocketAddr,
) -> Option<Peer> {
    let proxies = &gateway.options.proxies;
    let own = Peer { address: address.ip().to_canonical(), scheme: proxies.scheme };
    if !proxies.proxy_protocol || !proxies.trusts(own.address) {
        return Some(own);
    }
    let limit = gateway.options.head_timeout;
    let header = match tokio::time::timeout(limit, read(socket)).await {
        Ok(header) => header,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "no PROXY header in time")),
    };
    match header {
        Ok(None) => None,
        Ok(Some(Source { address, is_tls })) => Some(Peer {
            address: address.unwrap_or(own.address).to_canonical(),
            scheme: if is_tls { Scheme::Https } else { own.scheme },
        }),
        Err(err) => {
            // The first one tells the operator; a flood of them is in the metrics.
            if gateway.metrics.invalid_proxy_headers.inc() == 0 {
                tracing::warn!(proxy = %own.address, error = %err, "connections of a proxy are refused");
            }
            tracing::debug!(proxy = %own.address, error = %err, "connection refused");
            None
        }
    }
}

/// Reads the header, and nothing after it. `None`: the connection has ended without a byte, as those of
/// health checks do.
async fn read(socket: &mut TcpStream) -> io::Result<Option<Source>> {
    let mut header = Vec::new();
    loop {
        match proxy_header::step(&header).map_err(io::Error::other)? {
            Step::Done(source) => return Ok(Some(source)),
            Step::Read(size) => {
                let start = header.len();
                header.resize(start + size, 0);
                match socket.read_exact(&mut header[start..]).await {
                    Err(_) if start == 0 => return Ok(None),
                    read => read?,
                };
            }
        }
    }
}
