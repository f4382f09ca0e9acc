//! A TCP proxy with faults.

mod options;
mod pump;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime;
use tokio::sync::{oneshot, watch};

pub use self::options::Fault;

/// A proxy between clients and a server on 127.0.0.1; closes its connections on drop. It has a runtime of its
/// own on its own thread, so a paused clock of the caller's runtime does not stop it.
pub struct FaultProxy {
    addr: SocketAddr,
    fault: watch::Sender<Fault>,
    accepted: Arc<AtomicUsize>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl FaultProxy {
    /// Starts a proxy that forwards connections to `upstream`, at first without a fault.
    ///
    /// # Errors
    /// When no port can be bound.
    pub fn start(upstream: SocketAddr) -> Result<Self> {
        let listener =
            std::net::TcpListener::bind("127.0.0.1:0").context("no port for the fault proxy")?;
        listener.set_nonblocking(true)?;
        let addr = listener.local_addr()?;
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let (fault, faults) = watch::channel(Fault::default());
        let accepted = Arc::new(AtomicUsize::new(0));
        let (stop, stopped) = oneshot::channel();
        let counter = accepted.clone();
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).expect("the runtime takes sockets");
                tokio::select! {
                    () = accept(listener, upstream, faults, &counter) => {}
                    // Sent or dropped: the proxy is gone either way.
                    _ = stopped => {}
                }
            });
        });
        Ok(Self { addr, fault, accepted, stop: Some(stop), thread: Some(thread) })
    }

    /// Returns the address for clients.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Sets the fault, also for open connections.
    pub fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }

    /// Removes the fault.
    pub fn heal(&self) {
        self.set(Fault::default());
    }

    /// Returns the number of connections accepted so far.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed.
            let _ = thread.join();
        }
    }
}

async fn accept(
    listener: TcpListener,
    upstream: SocketAddr,
    faults: watch::Receiver<Fault>,
    accepted: &AtomicUsize,
) {
    loop {
        let client = match listener.accept().await {
            Ok((client, _)) => client,
            // Out of file descriptors, or the client has left already.
            Err(_) => {
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            }
        };
        accepted.fetch_add(1, Ordering::Relaxed);
        let faults = faults.clone();
        tokio::spawn(async move {
            match TcpStream::connect(upstream).await {
                Ok(server) => pump::run(client, server, faults).await,
                Err(_) => pump::reset(client),
            }
        });
    }
}
