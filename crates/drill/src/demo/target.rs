//! One of the systems that a drill compares.

use std::net::SocketAddr;
use std::sync::Arc;

/// A system that receives the same traffic as the others.
#[derive(Clone)]
pub struct Target {
    /// Key in reports, such as `ttl_only`.
    pub key: String,
    /// Display name, such as `TTL only (10 s)`.
    pub title: String,
    /// Address at which it serves plain HTTP.
    pub address: SocketAddr,
    /// Returns the number of requests that have reached the application behind it.
    pub origin_requests: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// Returns the metrics that cannot be measured from outside; `None` if the system has none.
    pub metrics: Option<Arc<dyn Fn() -> TargetMetrics + Send + Sync>>,
}

/// Metrics that a system reports about itself.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct TargetMetrics {
    /// Invalidations applied.
    pub invalidations: u64,
    /// Time from a commit until the last tier has dropped the old value: p50 and p99 in
    /// milliseconds.
    pub commit_to_gone_ms: Option<(f64, f64)>,
    /// The highest bound it has stated in any response, in milliseconds. The drill also reads the
    /// bound of every response and reports the higher of the two.
    pub worst_bound_ms: Option<f64>,
}
