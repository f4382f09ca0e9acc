//! Listeners: how connections are accepted, for every interface of a process.
//!
//! An [`Acceptor`] accepts the connections of one listener within its [`ConnectionLimits`], in all and per
//! client. The listeners of a process share a [`DescriptorReserve`]: when the file descriptors of the process are
//! used up, a listener with access to the reserve still accepts, and the others wait.
//!
//! [`Security::establish`] encrypts an accepted connection, within a time limit and while the connection has its
//! slot. A [`ClientStream`] is the result. [`Challenges`] are the checks by which a certificate authority finds out that a
//! host is this one.
//!
//! This crate does not know the protocols inside of the connections.

mod acceptor;
mod bind;
mod certificates;
mod challenges;
mod client;
mod descriptors;
mod limits;
mod metrics;
mod plain_request;
mod rare_log;
mod security;
mod stream;
mod switch;
mod tls_stream;

pub use self::acceptor::{Accepted, Acceptor};
pub use self::bind::{DEFAULT_BACKLOG, bind, system_backlog};
pub use self::challenges::{Challenges, ComingAnswer};
pub use self::client::ClientNetwork;
pub use self::descriptors::{
    DescriptorReserve, Priority, client_connections_within, is_out_of_descriptors,
    raise_descriptor_limit,
};
pub use self::limits::{ConnectionLimits, ConnectionSlot};
pub use self::metrics::{ListenerMetrics, TlsMetrics};
pub use self::rare_log::RareLog;
pub use self::security::{Security, TlsListener};
pub use self::stream::ClientStream;
pub use self::switch::Switch;
