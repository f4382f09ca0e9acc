//! The checks of hosts by a certificate authority (RFC 8555, section 8).

use std::fmt::Debug;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::ClientHello;

/// The protocol by which a handshake alone is a check (RFC 8737).
const ACME_TLS: &[u8] = b"acme-tls/1";

/// An answer that is looked for.
pub type ComingAnswer<'a, T> = Pin<Box<dyn Future<Output = io::Result<Option<T>>> + Send + 'a>>;

/// The answers to the checks that are under way, also on other nodes. `None`: there is no such check. An error: that
/// could not be found out.
pub trait Challenges: Debug + Send + Sync {
    /// Returns the configuration of the handshake that checks `host` (RFC 8737).
    fn handshake(&self, host: &str) -> ComingAnswer<'_, Arc<ServerConfig>>;

    /// Returns the body of the answer to the request for `token` (RFC 8555, section 8.3).
    fn token(&self, token: &str) -> ComingAnswer<'_, String>;
}

/// Returns the host that a handshake checks; `None`: it is the handshake of a client.
pub(crate) fn checked_host(hello: &ClientHello<'_>) -> Option<String> {
    let mut protocols = hello.alpn()?;
    let is_check = protocols.next() == Some(ACME_TLS) && protocols.next().is_none();
    is_check.then(|| hello.server_name().unwrap_or_default().to_ascii_lowercase())
}
