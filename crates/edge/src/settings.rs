//! The gateway's settings: options and routes, parsed and validated.

pub(crate) mod options;
pub(crate) mod routes;
