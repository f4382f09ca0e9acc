//! The figures of one target.

use serde::Serialize;

use crate::load::Hits;

/// One target's figures. The JSON keys are a public interface.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct TargetFigures {
    /// Requests that were due.
    pub requests: u64,
    /// Requests without a response of status 200 in time.
    pub errors: u64,
    /// Cache hits per response, 0 to 1.
    pub hit_rate: f64,
    /// Cache hits by tier.
    pub hits: Hits,
    /// Requests that reached the application.
    pub origin_requests: u64,
    /// Latency from the planned send time to the last byte.
    pub latency_ms: Latency,
    /// Invalidations applied.
    pub invalidations: u64,
    /// Time from a commit until the last tier has dropped the old value; `null`s if not measured.
    pub commit_to_gone_ms: Quantiles,
    /// Responses compared with the database's own history.
    pub audited: u64,
    /// Audited responses with a value staler than its contract, or never committed.
    pub stale_beyond_contract: u64,
    /// The highest staleness of any value, within its contract or not.
    pub worst_staleness_ms: f64,
    /// The highest staleness bound stated in any response; `null` if none is stated.
    pub worst_bound_ms: Option<f64>,
}

/// Latency in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Latency {
    /// Mean.
    pub mean: f64,
    /// Median.
    pub p50: f64,
    /// 99th percentile.
    pub p99: f64,
}

/// Quantiles in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Quantiles {
    /// Median; `None` without measurements.
    pub p50: Option<f64>,
    /// 99th percentile; `None` without measurements.
    pub p99: Option<f64>,
}

/// One target's names, figures, and examples of violations and errors.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TargetReport {
    /// Key in the JSON's `compare`.
    pub key: String,
    /// Display name.
    pub title: String,
    /// The figures.
    pub figures: TargetFigures,
    /// Responses with a value that was never committed (included in `stale_beyond_contract`).
    pub wrong: u64,
    /// Descriptions of the first few violations.
    pub examples: Vec<String>,
    /// The highest bound stated in a response, with its contract; `None` if none is stated.
    pub worst_bound: Option<String>,
    /// The first few error messages.
    pub first_errors: Vec<String>,
}
