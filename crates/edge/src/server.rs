//! Client connections: accept, serve, time out, drain.

mod connection;
mod h2_stream;
mod http_server;
mod listener;
mod peer;
mod proxy_header;
mod wake_gate;
mod write_timeout;
