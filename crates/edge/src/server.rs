//! Client connections: accept, serve, time out, drain.

mod connection;
mod h2_stream;
mod http_server;
mod idle_check;
mod listener;
mod peer;
pub(crate) mod proxy_header;
pub(crate) mod redirect;
mod request_service;
mod wake_gate;
mod write_timeout;
