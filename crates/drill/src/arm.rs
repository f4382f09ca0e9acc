//! One of the systems that a drill compares.

use std::net::SocketAddr;
use std::sync::Arc;

/// A system under the same traffic as the others.
#[derive(Clone)]
pub struct Arm {
    /// Its key in reports, such as `ttl_only`.
    pub key: String,
    /// Its name for people, such as `TTL only (10 s)`.
    pub title: String,
    /// Where it answers plain HTTP.
    pub address: SocketAddr,
    /// How many requests have reached the application behind it.
    pub origin_requests: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// What only the system itself can tell; `None` where there is nothing to tell.
    pub inside: Option<Arc<dyn Fn() -> Inside + Send + Sync>>,
}

/// What a system says about itself.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Inside {
    /// Invalidations applied.
    pub invalidations: u64,
    /// From commit until the last tier had dropped the old value: p50 and p99 in milliseconds.
    pub commit_to_gone_ms: Option<(f64, f64)>,
    /// The worst bound it has claimed in any answer, in milliseconds. The drill also reads the bound
    /// of every answer and reports the worse of the two.
    pub worst_bound_ms: Option<f64>,
}
