//! `[listen]`

use std::net::{Ipv4Addr, SocketAddr};

use serde::Deserialize;

/// The addresses of the listeners.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Listen {
    /// The public gateway.
    pub(crate) gateway: SocketAddr,
    /// The data API; private.
    pub(crate) data: SocketAddr,
    /// Admin API, metrics and health; private.
    pub(crate) admin: SocketAddr,
}

impl Default for Listen {
    fn default() -> Self {
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self { gateway: local(8080), data: local(9170), admin: local(9180) }
    }
}
