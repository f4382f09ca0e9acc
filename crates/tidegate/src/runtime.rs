//! The async runtime of a command.

use std::future::Future;
use std::pin::{Pin, pin};

use tokio::signal::unix::{SignalKind, signal};

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

/// Calls `reload` for each SIGHUP, one after the other; never ends.
pub(crate) async fn on_hangup(mut reload: impl AsyncFnMut()) {
    let Ok(mut hangup) = signal(SignalKind::hangup()) else {
        return std::future::pending().await;
    };
    while hangup.recv().await.is_some() {
        reload().await;
    }
}

/// Waits for SIGINT or SIGTERM. Where they can't be received, they end the process.
pub(crate) async fn stop_requested() {
    let signals = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    let (Ok(mut interrupt), Ok(mut terminate)) = signals else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
