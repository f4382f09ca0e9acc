//! A TCP proxy that misbehaves on command.

mod pump;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use anyhow::{Context, Result};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime,
    sync::{oneshot, watch},
};

/// What goes wrong between a client and its server. The default is: nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Fault {
    /// What each piece of an answer is late by (way to the server: in time).
    pub latency: Duration,
    /// Up to this is added to the latency, at random. The order of the bytes stays.
    pub jitter: Duration,
    /// Bytes of answers per second and connection.
    pub bandwidth: Option<u64>,
    /// After so many bytes of answers, counted on each connection from the moment this is set, the
    /// client sees the end of the stream (FIN), as from a server that breaks off.
    pub half_close_after: Option<u64>,
    /// Nothing comes through in either direction, and nobody is told. What was held back is
    /// delivered when this ends, as TCP would after a partition.
    pub black_hole: bool,
    /// Connections are reset (RST): those that are open, and each new one.
    pub reset: bool,
}

impl Fault {
    /// Answers late by `latency`.
    #[must_use]
    pub fn slow(latency: Duration) -> Self {
        Self { latency, ..Self::default() }
    }

    /// A partition.
    #[must_use]
    pub fn black_hole() -> Self {
        Self { black_hole: true, ..Self::default() }
    }

    /// Every connection is reset.
    #[must_use]
    pub fn reset() -> Self {
        Self { reset: true, ..Self::default() }
    }

    /// Answers break off after `bytes`.
    #[must_use]
    pub fn half_close_after(bytes: u64) -> Self {
        Self { half_close_after: Some(bytes), ..Self::default() }
    }
}

/// Stands between a client and a server on 127.0.0.1; ends, with its connections, on drop.
pub struct FaultProxy {
    addr: SocketAddr,
    fault: watch::Sender<Fault>,
    accepted: Arc<AtomicUsize>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl FaultProxy {
    /// Passes connections on to `upstream`, for now without a fault.
    ///
    /// # Errors
    /// When no port can be bound.
    pub fn start(upstream: SocketAddr) -> Result<Self> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")
            .context("harness: no port for the fault proxy")?;
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

    /// Where clients connect.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Switches to this fault, for open connections too.
    pub fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }

    /// Nothing goes wrong any more.
    pub fn heal(&self) {
        self.set(Fault::default());
    }

    /// How many connections were accepted so far.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic in there has been printed.
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
