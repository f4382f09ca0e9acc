//! Binding a listener, with the length of its queue.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

/// The number of connections that may wait to be accepted, unless the configuration sets it. The system's
/// own default of many runtimes, 128, drops the SYNs of a burst, and each dropped SYN costs its client a second.
pub const DEFAULT_BACKLOG: u32 = 4096;

/// Binds a listener. `backlog`: the number of connections that may wait to be accepted; the system caps it
/// ([`system_backlog`]).
///
/// # Errors
/// The address is taken, or is not of this machine.
pub fn bind(address: SocketAddr, backlog: u32) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A port whose last connections have just ended can be bound again.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    TcpListener::from_std(socket.into())
}

/// Returns the largest backlog that the system allows (`net.core.somaxconn`), where it says so.
#[must_use]
pub fn system_backlog() -> Option<u32> {
    std::fs::read_to_string("/proc/sys/net/core/somaxconn").ok()?.trim().parse().ok()
}
