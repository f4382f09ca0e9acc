//! `[listen]`

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use contract::config::{TIME_LIMITS, TableReader, parse_listen_address};
use listen::{ConnectionLimits, DEFAULT_BACKLOG};

use super::listen_tls::ListenTls;

pub(super) const KEYS: &[&str] = &[
    "gateway",
    "data",
    "admin",
    "sale",
    "redirect",
    "redirect_port",
    "backlog",
    "gateway_connections",
    "gateway_connections_per_client",
    "data_connections",
    "data_connections_per_client",
    "admin_connections",
    "admin_connections_per_client",
    "sale_connections",
    "sale_connections_per_client",
    "handshake_timeout",
    "tls",
    "gateway_tls",
    "data_tls",
    "admin_tls",
    "sale_tls",
];

/// The most connections of a listener that a configuration accepts.
const MAX_CONNECTIONS: u32 = 1_000_000;

/// The longest queue of a listener that a configuration accepts.
const MAX_BACKLOG: u32 = 1 << 20;

/// The addresses of the listeners, and how many connections each accepts.
#[derive(Clone, Debug)]
pub(crate) struct Listen {
    /// The public gateway.
    pub(crate) gateway: SocketAddr,
    /// The data API; private.
    pub(crate) data: SocketAddr,
    /// Admin API, metrics and health; private.
    pub(crate) admin: SocketAddr,
    /// The API of the sale; private.
    pub(crate) sale: SocketAddr,
    /// The plain listener that sends clients to the encrypted gateway; `None`: there is none.
    pub(crate) redirect: Option<SocketAddr>,
    /// The port of the gateway as clients reach it; `None`: its own.
    pub(crate) redirect_port: Option<u16>,
    /// The connections that may wait to be accepted, of each listener.
    pub(crate) backlog: u32,
    /// How many connections each listener accepts.
    pub(crate) connections: Connections,
    /// The time limit of a TLS handshake.
    pub(crate) handshake_timeout: Duration,
    /// The certificates.
    pub(crate) tls: ListenTls,
}

/// How many connections each listener accepts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Connections {
    pub(crate) gateway: ConnectionLimits,
    pub(crate) data: ConnectionLimits,
    pub(crate) admin: ConnectionLimits,
    pub(crate) sale: ConnectionLimits,
}

impl Default for Listen {
    fn default() -> Self {
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self {
            gateway: local(8080),
            data: local(9170),
            admin: local(9180),
            sale: local(9190),
            redirect: None,
            redirect_port: None,
            backlog: DEFAULT_BACKLOG,
            connections: Connections {
                gateway: ConnectionLimits::of(32_768),
                data: ConnectionLimits::of(4_096),
                admin: ConnectionLimits::of(256),
                sale: ConnectionLimits::of(4_096),
            },
            handshake_timeout: Duration::from_secs(10),
            tls: ListenTls::default(),
        }
    }
}

impl Listen {
    pub(super) fn read(table: &mut TableReader<'_>, folder: &Path) -> Self {
        let default = Self::default();
        let mut address = |key: &str, default: SocketAddr| {
            table.text_with(key, parse_listen_address).unwrap_or(default)
        };
        let gateway = address("gateway", default.gateway);
        let data = address("data", default.data);
        let admin = address("admin", default.admin);
        let sale = address("sale", default.sale);
        let redirect = table.text_with("redirect", parse_listen_address);
        let redirect_port = table.whole_number("redirect_port", 1..=u32::from(u16::MAX));
        let redirect_port = redirect_port.and_then(|port| u16::try_from(port).ok());
        let backlog = table.whole_number("backlog", 1..=MAX_BACKLOG).unwrap_or(default.backlog);
        let mut limits = |key: &str, default: ConnectionLimits| {
            let mut count = |key: &str| {
                let count = table.whole_number(key, 1..=MAX_CONNECTIONS);
                count.and_then(|count| usize::try_from(count).ok())
            };
            let limits = count(key).map_or(default, ConnectionLimits::of);
            let per_client = count(&format!("{key}_per_client")).unwrap_or(limits.per_client);
            ConnectionLimits { per_client, ..limits }
        };
        let connections = Connections {
            gateway: limits("gateway_connections", default.connections.gateway),
            data: limits("data_connections", default.connections.data),
            admin: limits("admin_connections", default.connections.admin),
            sale: limits("sale_connections", default.connections.sale),
        };
        let handshake_timeout = table.duration("handshake_timeout", TIME_LIMITS);
        let handshake_timeout = handshake_timeout.unwrap_or(default.handshake_timeout);
        let tls = ListenTls::read(table, folder);
        if redirect.is_some() && tls.gateway.is_none() && !table.has("gateway_tls") {
            let help = "encrypt the gateway in `[listen.gateway_tls]`, or remove `redirect`: it sends clients to https";
            table.problem("conflict", "redirect", "is there without TLS of the gateway", help);
        }
        Self {
            gateway,
            data,
            admin,
            sale,
            redirect,
            redirect_port,
            backlog,
            connections,
            handshake_timeout,
            tls,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_connection_limit_is_read() {
        let table: toml::Table = "backlog = 8\ngateway_connections = 100\ndata_connections = 10\n\
             data_connections_per_client = 10\nadmin_connections_per_client = 3"
            .parse()
            .expect("TOML");
        let mut reader = TableReader::new("listen", &table, KEYS);
        let listen = Listen::read(&mut reader, Path::new(""));
        let Listen { backlog, connections, .. } = reader.finish(Some(listen)).expect("valid");
        assert_eq!(backlog, 8);
        assert_eq!(connections.gateway, ConnectionLimits { total: 100, per_client: 50 });
        assert_eq!(connections.data, ConnectionLimits { total: 10, per_client: 10 });
        assert_eq!(connections.admin, ConnectionLimits { total: 256, per_client: 3 });
    }
}
