//! One running Tidegate, composed from a configuration: connect, build, serve. The loops are in the crate
//! `node`.

mod audit;
mod build;
mod configuration;
mod connect;
mod error;
mod faces;
mod installation;
mod issued;
mod kept;
mod listen;
mod live_node;
mod posted_events;
mod probe;
mod reload;
mod reload_metrics;
mod serve;
mod tls;

pub(crate) use build::Node;
pub(crate) use error::NodeError;
pub(crate) use listen::Listening;
pub(crate) use probe::{Probe, check_sources, probe};
pub(crate) use reload::{ReloadHandle, Reloads};
