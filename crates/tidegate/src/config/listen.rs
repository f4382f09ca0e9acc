//! `[listen]`

use std::net::{Ipv4Addr, SocketAddr};

use contract::config::TableReader;

pub(super) const KEYS: &[&str] = &["gateway", "data", "admin", "sale"];

/// The addresses of the listeners.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Listen {
    /// The public gateway.
    pub(crate) gateway: SocketAddr,
    /// The data API; private.
    pub(crate) data: SocketAddr,
    /// Admin API, metrics and health; private.
    pub(crate) admin: SocketAddr,
    /// The API of the sale; private.
    pub(crate) sale: SocketAddr,
}

impl Default for Listen {
    fn default() -> Self {
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self { gateway: local(8080), data: local(9170), admin: local(9180), sale: local(9190) }
    }
}

impl Listen {
    pub(super) fn read(table: &mut TableReader<'_>) -> Self {
        let default = Self::default();
        let mut address = |key: &str, default: SocketAddr| {
            let help = format!("write an address and a port, such as \"{default}\"");
            table.parsed(key, "wrong-value", &help, str::parse).unwrap_or(default)
        };
        Self {
            gateway: address("gateway", default.gateway),
            data: address("data", default.data),
            admin: address("admin", default.admin),
            sale: address("sale", default.sale),
        }
    }
}
