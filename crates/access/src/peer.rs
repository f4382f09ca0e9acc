//! The other end of a connection.

use std::net::IpAddr;
use std::sync::Arc;

use tls::Certificate;

/// The other end of a connection, as an extension of its requests.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its address.
    pub address: IpAddr,
    /// The client certificate that the connection has proven, if it has.
    pub(crate) certificate: Option<Arc<Certificate>>,
}

impl Peer {
    /// Describes a connection from `address`. `certificate`: the verified client certificate, as DER. One that
    /// can't be parsed is as good as none.
    #[must_use]
    pub fn new(address: IpAddr, certificate: Option<&[u8]>) -> Self {
        let certificate = certificate.and_then(Certificate::parse).map(Arc::new);
        Self { address, certificate }
    }
}
