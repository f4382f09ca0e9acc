//! Client connections: accept, serve, time out, drain.

mod connection;
mod listener;
mod wake_gate;
mod write_timeout;
