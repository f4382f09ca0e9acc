//! The async runtime of a command.

use std::future::Future;

use crate::exit::Exit;
use crate::terminal::print_error;

/// Runs the async part of a command.
pub(crate) fn block_on(work: impl Future<Output = Exit>) -> Exit {
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
