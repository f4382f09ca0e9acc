//! The async runtime of a command.

use std::future::Future;
use std::pin::{Pin, pin};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::Exit;
use crate::terminal::print_error;

/// Runs the async part of a command.
pub(crate) fn block_on(work: impl Future<Output = Exit>) -> Exit {
    // One type for all commands. The runtime has several ways to poll a future, and a release build would
    // compile a command, with all that is inlined in it, once for each.
    let work: Pin<&mut dyn Future<Output = Exit>> = pin!(work);
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => {
            let exit = runtime.block_on(work);
            // A task that still runs (a load that never ends) must not keep the process alive.
            runtime.shutdown_background();
            exit
        }
        Err(err) => {
            print_error(format_args!("tidegate: the system gives no threads: {err}"));
            Exit::Environment
        }
    }
}

/// The SIGHUPs to this process, from the moment of its creation on.
pub(crate) struct Hangups(Option<Signal>);

impl Hangups {
    /// Receives SIGHUP from now on. Where it can't be received, it ends the process.
    pub(crate) fn receive() -> Self {
        Self(signal(SignalKind::hangup()).ok())
    }

    /// Calls `reload` for each SIGHUP, one after the other; never ends. Several that arrive during a call are one.
    pub(crate) async fn each(self, mut reload: impl AsyncFnMut()) {
        let Some(mut hangups) = self.0 else { return std::future::pending().await };
        while hangups.recv().await.is_some() {
            reload().await;
        }
    }
}

/// The SIGINTs and SIGTERMs to this process, from the moment of its creation on.
pub(crate) struct Stops(Option<(Signal, Signal)>);

impl Stops {
    /// Receives the signals from now on. Where they can't be received, they end the process.
    pub(crate) fn receive() -> Self {
        let signals = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
        let (Ok(interrupt), Ok(terminate)) = signals else { return Self(None) };
        Self(Some((interrupt, terminate)))
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) {
        let Some((interrupt, terminate)) = &mut self.0 else { return std::future::pending().await };
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }
}

/// Waits for SIGINT or SIGTERM. Where they can't be received, they end the process.
pub(crate) async fn stop_requested() {
    Stops::receive().next().await;
}
