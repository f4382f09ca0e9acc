//! The gateway's metrics and its access log.

pub(crate) mod access_log;
pub mod metrics;
