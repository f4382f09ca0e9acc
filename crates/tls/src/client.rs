//! Connections to servers.

mod connect;
mod handshake;
mod verifier;

pub use self::connect::{TlsClient, TlsVersion};
