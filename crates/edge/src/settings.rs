//! The gateway's settings: options and routes, parsed and validated.

pub(crate) mod client_limits;
pub(crate) mod connections;
pub(crate) mod edge_section;
pub(crate) mod options;
pub(crate) mod page_limits;
pub(crate) mod proxies;
pub(crate) mod route_config;
pub(crate) mod routes;
pub(crate) mod server_address;
pub(crate) mod tls_files;
pub(crate) mod upstream_limits;
