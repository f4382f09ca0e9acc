//! Ports reserved across test processes, also while their server is stopped.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::atomic::{AtomicU16, Ordering},
};

use anyhow::{Context, Result, bail};

use crate::folder;

/// Below the range from which the kernel hands out ports to outgoing connections, so that a load
/// test does not occupy the port of a server that is down for a moment.
const FIRST: u16 = 18_000;
const COUNT: u16 = 14_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A reserved port of 127.0.0.1. The reservation is a file lock: it ends with the value or with
/// the process.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _lock: File,
}

impl Port {
    /// Reserves a port on which no process listens.
    ///
    /// # Errors
    /// When the lock folder can't be written, or all ports of the range are taken.
    pub fn reserve() -> Result<Self> {
        let locks = folder::shared("ports")?;
        let start = (std::process::id() % u32::from(COUNT)) as u16;
        for _ in 0..COUNT {
            let step = NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
            let number = FIRST + (start.wrapping_mul(97) % COUNT + step) % COUNT;
            let path = locks.join(number.to_string());
            let lock = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .open(&path)
                .with_context(|| format!("harness: can't open {}", path.display()))?;
            match lock.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => continue,
                Err(TryLockError::Error(err)) => return Err(err.into()),
            }
            if is_free(number)? {
                return Ok(Self { number, _lock: lock });
            }
        }
        bail!("harness: no free port between {FIRST} and {}", FIRST + COUNT - 1)
    }

    /// Returns the port number.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.number
    }

    /// Returns 127.0.0.1 with this port.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.number))
    }
}

fn is_free(number: u16) -> io::Result<bool> {
    match TcpListener::bind((Ipv4Addr::UNSPECIFIED, number)) {
        Ok(_) => Ok(true),
        Err(err) if err.kind() == io::ErrorKind::AddrInUse => Ok(false),
        Err(err) => Err(err),
    }
}

/// Starts a server by `launch` on a reserved port. A process outside of these tests may take the
/// port between the reservation and the start; then another port is tried.
pub(crate) fn start_on_free_port<T>(
    mut launch: impl FnMut(&Port) -> Result<T>,
) -> Result<(Port, T)> {
    const TRIES: usize = 5;
    let mut tried = 0;
    loop {
        let port = Port::reserve()?;
        match launch(&port) {
            Ok(server) => return Ok((port, server)),
            Err(_) if tried < TRIES && !is_free(port.number())? => tried += 1,
            Err(err) => return Err(err),
        }
    }
}
