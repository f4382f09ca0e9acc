//! The error of commands that ask a running node.

use std::net::SocketAddr;

use crate::exit::Exit;
use crate::terminal::print_error;

/// Prints that no node answers at its admin address.
pub(super) fn no_answer(admin: SocketAddr, err: &anyhow::Error) -> Exit {
    print_error(format_args!(
        "tidegate: no node answers at {admin}: {err:#}; start one with `tidegate serve`, or give its admin \
         address with --admin"
    ));
    Exit::Environment
}
