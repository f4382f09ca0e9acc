//! One running Tidegate, composed from a configuration: connect, build, serve. The loops are in the crate
//! `node`.

mod audit;
mod build;
mod connect;
mod error;
mod installation;
mod listen;
mod posted_events;
mod probe;
mod serve;
mod tls;

pub(crate) use build::Node;
pub(crate) use error::NodeError;
pub(crate) use listen::Listening;
pub(crate) use probe::{Probe, check_sources, probe};
