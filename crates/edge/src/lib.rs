//! The HTTP gateway: a caching reverse proxy that stores pages in the [`cache`] engine.
//!
//! Pages are entries like any other: keyed, tagged (`Surrogate-Key`), fenced and proven by
//! [`cache`]. A commit that changes a price invalidates the pages that show the price. This crate
//! adds the HTTP rules. Only explicitly fresh and shareable responses are stored (see
//! `page_cache/storability.rs`); all others pass through.
//!
//! The crate also holds the [data API](data), which serves single values and batches, and
//! [HTTP services](service) as origins of contracts.
//!
//! Life of a request: connection (`server`) → classification and local lookup (`gateway`) →
//! stored page (`page_cache`), or one load for all waiters (`page_cache/origin.rs`), or pass →
//! `admission` → `upstream`.

mod admission;
pub mod data;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod gateway;
mod http;
mod page_audit;
mod page_cache;
mod server;
pub mod service;
mod settings;
mod telemetry;
mod upstream;

pub use crate::gateway::Gateway;
pub use crate::http::client::ForwardingHeaders;
pub use crate::http::network::{Network, NetworkError};
pub use crate::http::target::Scheme;
pub use crate::page_audit::{ChangedTables, PageAuditor};
pub use crate::server::redirect::{RedirectTarget, serve_redirects};
pub use crate::service::{HttpOrigin, ServiceError, ServiceMetrics};
pub use crate::settings::client_limits::{BudgetLimits, ClientLimits};
pub use crate::settings::connections::ConnectionLimits;
pub use crate::settings::edge_section::EdgeSection;
pub use crate::settings::options::{GatewayOptions, HostPolicy, OptionsError};
pub use crate::settings::page_limits::PageLimits;
pub use crate::settings::proxies::{HostPattern, Proxies};
pub use crate::settings::route_config::RouteConfig;
pub use crate::settings::routes::{RouteError, Routes};
pub use crate::settings::server_address::ServerAddress;
pub use crate::settings::tls_files::TlsFiles;
pub use crate::settings::upstream_limits::{TimeoutOverrides, Timeouts, UpstreamLimits};
pub use crate::telemetry::metrics::{self, Metrics};
pub use crate::upstream::connector::{Connector, ServerStream};
