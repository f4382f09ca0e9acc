//! One module per subcommand: arguments, and what happens.

pub(crate) mod audit;
pub(crate) mod check;
pub(crate) mod demo;
pub(crate) mod purge;
pub(crate) mod serve;

use std::future::Future;

use crate::Exit;
use crate::terminal::complain;

/// Runs a command's async part.
fn block_on(work: impl Future<Output = Exit>) -> Exit {
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => {
            let exit = runtime.block_on(work);
            // What still runs (a load that never ends) must not keep the process.
            runtime.shutdown_background();
            exit
        }
        Err(err) => {
            complain(format_args!("tidegate: the system gives no threads: {err}"));
            Exit::Environment
        }
    }
}
