//! The server of a private listener.

mod body;
mod connections;
mod listen;
mod socket;

pub use body::Body;
pub use listen::{Peer, ServerLimits, serve};
