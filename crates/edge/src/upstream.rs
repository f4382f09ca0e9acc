//! The application behind the gateway: connection pool, outgoing requests, errors.

pub(crate) mod client;
pub(crate) mod connector;
pub(crate) mod error;
pub(crate) mod pool;
pub(crate) mod request;
pub(crate) mod upload;
