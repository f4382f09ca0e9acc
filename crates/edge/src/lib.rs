//! The HTTP gateway: a reverse proxy whose store is the engine's.
//!
//! Pages are entries like any other: keyed, tagged (`Surrogate-Key`), fenced and proven by
//! [`cache`]; a commit that fells a price fells the pages that show it. This crate adds what is
//! HTTP about it. Only what is explicitly fresh and safe is stored (the module `storable` has the rules);
//! everything else goes through.
//!
//! It also asks [services](service) for the values of contracts, which the data face answers.
//!
//! The life of a request: a connection (`serve`) → what is asked (`gateway`, `key`) → memory
//! (`answer`) → or one load for all who wait (`load`) → or straight through (`forward`,
//! `upstream`).

mod answer;
mod asked;
mod body;
mod cookies;
pub mod data;
mod directives;
mod error;
mod forward;
mod gateway;
mod guard;
mod head;
mod key;
mod load;
pub mod metrics;
mod noted;
mod options;
mod proof;
mod ready;
mod request_id;
mod routes;
mod seldom;
mod serve;
pub mod service;
mod storable;
mod token;
mod upstream;

pub use gateway::Gateway;
pub use key::Scheme;
pub use metrics::Metrics;
pub use options::{GatewayOptions, HostPolicy, OptionsError};
pub use routes::{RouteConfig, RouteError, Routes};
pub use service::{HttpOrigin, ServiceError, ServiceMetrics};
