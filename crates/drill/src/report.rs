//! What came of a run, for programs (JSON with fixed keys) and for people.

mod storm;
pub(crate) mod table;

use serde::Serialize;
use serde_json::{Map, Value};

pub use self::storm::StormReport;
use crate::tally::Hits;

/// One arm's figures. The JSON keys are an interface: scripts rely on them.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ArmReport {
    /// Requests planned and due.
    pub requests: u64,
    /// Of those: not answered with 200 in time.
    pub errors: u64,
    /// Answers from a cache per answer.
    pub hit_rate: f64,
    /// Answers from caches by tier.
    pub hits: Hits,
    /// Requests that reached the application.
    pub origin_requests: u64,
    /// From the planned send time to the last byte.
    pub latency_ms: Latency,
    /// Invalidations applied.
    pub invalidations: u64,
    /// From commit until the last tier had dropped the old value; `null`s where nothing measures it.
    pub commit_to_gone_ms: Quantiles,
    /// Answers compared with the database's own history.
    pub audited: u64,
    /// Of those: staler than their contract, or never true.
    pub stale_beyond_contract: u64,
    /// The stalest value shown, within its contract or not.
    pub worst_staleness_ms: f64,
    /// The worst staleness bound claimed in any answer; `null` where none is claimed.
    pub worst_bound_ms: Option<f64>,
}

/// Milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Latency {
    /// Mean.
    pub mean: f64,
    /// Median.
    pub p50: f64,
    /// 99th percentile.
    pub p99: f64,
}

/// Milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Quantiles {
    /// The median; `None` where nothing was measured.
    pub p50: Option<f64>,
    /// The 99th percentile.
    pub p99: Option<f64>,
}

/// One arm with its names and what an auditor would say about it in words.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ArmResult {
    /// Key in the JSON's `compare`.
    pub key: String,
    /// Name for people.
    pub title: String,
    /// Figures.
    pub report: ArmReport,
    /// Answers with a value that was never true (counted in `stale_beyond_contract`).
    pub wrong: u64,
    /// The first few violations.
    pub examples: Vec<String>,
    /// The first few errors.
    pub first_errors: Vec<String>,
}

/// The whole run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    /// The arm under test first, then those it is compared with.
    pub arms: Vec<ArmResult>,
    /// Seconds of traffic.
    pub seconds: f64,
    /// Writes committed during the run.
    pub writes: u64,
    /// Writes that failed or were refused.
    pub writes_refused: u64,
    /// Answers that the auditor had no time for.
    pub unaudited: u64,
    /// Why the audit is worth nothing, if it is.
    pub audit_failure: Option<String>,
    /// Lines to show to people, such as rows of the input that were left out.
    pub notes: Vec<String>,
}

impl Report {
    /// The JSON of the run: the figures of the first arm, and those of the others in `compare`.
    pub fn json(&self) -> Value {
        let figures = |report: &ArmReport| {
            let mut value = serde_json::to_value(report).unwrap_or_default();
            round(&mut value);
            value
        };
        let mut arms = self.arms.iter();
        let mut json = match arms.next().map(|arm| figures(&arm.report)) {
            Some(Value::Object(map)) => map,
            _ => Map::new(),
        };
        let compare: Map<String, Value> =
            arms.map(|arm| (arm.key.clone(), figures(&arm.report))).collect();
        json.insert("compare".into(), Value::Object(compare));
        Value::Object(json)
    }

    /// Whether the arm under test kept its contracts, as far as the audit can tell.
    pub fn is_good(&self) -> bool {
        self.audit_failure.is_none()
            && self
                .arms
                .first()
                .is_some_and(|arm| arm.report.stale_beyond_contract == 0 && arm.report.audited > 0)
    }
}

/// Three digits after the point: more is noise.
fn round(value: &mut Value) {
    match value {
        Value::Number(number) if number.is_f64() => {
            if let Some(float) = number.as_f64() {
                *value = Value::from((float * 1000.0).round() / 1000.0);
            }
        }
        Value::Object(map) => map.values_mut().for_each(round),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_has_exactly_the_promised_keys() {
        let arm = |key: &str| ArmResult { key: key.into(), ..ArmResult::default() };
        let report = Report { arms: vec![arm("tidegate"), arm("ttl_only")], ..Report::default() };
        let figures = r#""requests":0,"errors":0,"hit_rate":0.0,"hits":{"local":0,"shared":0,"edge":0},"origin_requests":0,"latency_ms":{"mean":0.0,"p50":0.0,"p99":0.0},"invalidations":0,"commit_to_gone_ms":{"p50":null,"p99":null},"audited":0,"stale_beyond_contract":0,"worst_staleness_ms":0.0,"worst_bound_ms":null"#;
        assert_eq!(
            report.json().to_string(),
            format!("{{{figures},\"compare\":{{\"ttl_only\":{{{figures}}}}}}}")
        );
    }

    #[test]
    fn a_run_without_an_audit_is_not_good() {
        let audited = ArmReport { audited: 1, ..ArmReport::default() };
        let arms = vec![ArmResult { report: audited, ..ArmResult::default() }];
        assert!(Report { arms: arms.clone(), ..Report::default() }.is_good());
        assert!(!Report::default().is_good());
        let audit_failure = Some("no database".into());
        assert!(!Report { arms, audit_failure, ..Report::default() }.is_good());
    }
}
