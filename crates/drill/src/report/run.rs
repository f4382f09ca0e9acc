//! The report of a run: all targets side by side.

use std::fmt;

use serde_json::{Map, Value};

use super::figures::{TargetFigures, TargetReport};
use super::table::{COLUMN, LABEL, grouped, milliseconds, row};
use super::verdict::Verdict;

/// The report of a run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunReport {
    /// The system under test first, then the baselines.
    pub targets: Vec<TargetReport>,
    /// Seconds of traffic.
    pub seconds: f64,
    /// Writes committed during the run.
    pub writes: u64,
    /// Writes that failed or were refused.
    pub writes_refused: u64,
    /// Responses that were not audited because the auditor's queue was full.
    pub unaudited: u64,
    /// The error that makes the audit void, if one occurred.
    pub audit_failure: Option<String>,
    /// Additional lines of the text report, such as a count of skipped input rows.
    pub notes: Vec<String>,
}

impl RunReport {
    /// Returns the JSON of the run: the figures of the first target, and those of the others in
    /// `compare`.
    pub fn json(&self) -> Value {
        let figures = |figures: &TargetFigures| {
            let mut value = serde_json::to_value(figures).unwrap_or_default();
            round(&mut value);
            value
        };
        let mut targets = self.targets.iter();
        let mut json = match targets.next().map(|target| figures(&target.figures)) {
            Some(Value::Object(map)) => map,
            _ => Map::new(),
        };
        let compare: Map<String, Value> =
            targets.map(|target| (target.key.clone(), figures(&target.figures))).collect();
        json.insert("compare".into(), Value::Object(compare));
        Value::Object(json)
    }

    /// Returns whether the system under test kept its contracts. A run without a valid audit, with
    /// too few audited responses or on an overloaded machine fails.
    pub fn passed(&self) -> bool {
        self.verdict() == Verdict::Kept
    }

    pub(super) fn verdict(&self) -> Verdict {
        Verdict::of(self.targets.first(), self.audit_failure.as_deref())
    }
}

/// Rounds to three decimals; further digits are noise.
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

impl fmt::Display for RunReport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "The same {:.0} s of traffic and {} writes, at the same time, through {} systems:\n",
            self.seconds,
            grouped(self.writes),
            self.targets.len()
        )?;
        row(out, "", self.targets.iter().map(|target| target.title.clone()))?;
        writeln!(out, "{}", "─".repeat(LABEL + COLUMN * self.targets.len()))?;
        self.row(out, "STALER THAN CONTRACT", |of| grouped(of.stale_beyond_contract))?;
        self.row(out, "worst staleness seen", |of| milliseconds(of.worst_staleness_ms))?;
        self.row(out, "requests", |of| grouped(of.requests))?;
        self.row(out, "errors", |of| grouped(of.errors))?;
        self.row(out, "hit rate", |of| format!("{:.1} %", of.hit_rate * 100.0))?;
        self.row(out, "requests to the shop", |of| grouped(of.origin_requests))?;
        self.row(out, "latency mean", |of| milliseconds(of.latency_ms.mean))?;
        self.row(out, "latency p50", |of| milliseconds(of.latency_ms.p50))?;
        self.row(out, "latency p99", |of| milliseconds(of.latency_ms.p99))?;
        self.row(out, "invalidations", |of| grouped(of.invalidations))?;
        self.row(out, "commit → gone, p50 / p99", |of| {
            let measured = of.commit_to_gone_ms.p50.zip(of.commit_to_gone_ms.p99);
            measured.map_or_else(|| "–".into(), |(p50, p99)| format!("{p50:.1} / {p99:.1} ms"))
        })?;
        self.row(out, "worst bound claimed", |of| {
            of.worst_bound_ms.map_or_else(|| "–".into(), milliseconds)
        })?;
        self.row(out, "answers audited", |of| grouped(of.audited))?;
        writeln!(out)?;
        self.explain(out)
    }
}

impl RunReport {
    fn row(
        &self,
        out: &mut fmt::Formatter<'_>,
        label: &str,
        cell: impl Fn(&TargetFigures) -> String,
    ) -> fmt::Result {
        row(out, label, self.targets.iter().map(|target| cell(&target.figures)))
    }

    fn explain(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "Staler than contract: answers that showed a price replaced more than 1 s before the request,\n\
             a stock level more than 2 s, or a text or list more than 60 s, by the database's own history.\n\
             Latency counts from the planned send time."
        )?;
        for target in &self.targets {
            for (index, example) in target.examples.iter().take(2).enumerate() {
                let title = if index == 0 { target.title.as_str() } else { "" };
                writeln!(out, "  {title:<18} {example}")?;
            }
            if let Some(bound) = &target.worst_bound {
                writeln!(out, "  {:<18} worst bound claimed: {bound}", target.title)?;
            }
            if let Some(error) = target.first_errors.first() {
                writeln!(out, "  {:<18} first error: {error}", target.title)?;
            }
        }
        if self.writes_refused > 0 {
            writeln!(out, "{} writes were refused or failed.", grouped(self.writes_refused))?;
        }
        if self.unaudited > 0 {
            writeln!(
                out,
                "{} answers were not audited: the auditor's queue was full.",
                grouped(self.unaudited)
            )?;
        }
        for note in &self.notes {
            writeln!(out, "{note}")?;
        }
        let Some(target) = self.targets.first() else { return Ok(()) };
        write!(out, "\nVerdict: ")?;
        self.verdict().write(target, out)?;
        writeln!(out, ".")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_exactly_the_public_keys() {
        let target = |key: &str| TargetReport { key: key.into(), ..TargetReport::default() };
        let report = RunReport {
            targets: vec![target("tidegate"), target("ttl_only")],
            ..RunReport::default()
        };
        let figures = r#""requests":0,"errors":0,"hit_rate":0.0,"hits":{"local":0,"shared":0,"edge":0},"origin_requests":0,"latency_ms":{"mean":0.0,"p50":0.0,"p99":0.0},"invalidations":0,"commit_to_gone_ms":{"p50":null,"p99":null},"audited":0,"stale_beyond_contract":0,"worst_staleness_ms":0.0,"worst_bound_ms":null"#;
        assert_eq!(
            report.json().to_string(),
            format!("{{{figures},\"compare\":{{\"ttl_only\":{{{figures}}}}}}}")
        );
    }

    #[test]
    fn overloaded_run_says_so() {
        let figures = TargetFigures {
            requests: 1_000,
            errors: 780,
            audited: 220,
            ..TargetFigures::default()
        };
        let target = TargetReport { title: "Tidegate".into(), figures, ..TargetReport::default() };
        let report = RunReport { targets: vec![target], ..RunReport::default() };
        let text = report.to_string();
        assert!(text.contains("780 of 1,000 requests") && !text.contains("kept"), "{text}");
        assert!(!report.passed());
    }

    #[test]
    fn run_without_audit_fails() {
        let figures = TargetFigures { audited: 100, ..TargetFigures::default() };
        let targets = vec![TargetReport { figures, ..TargetReport::default() }];
        assert!(RunReport { targets: targets.clone(), ..RunReport::default() }.passed());
        assert!(!RunReport::default().passed());
        let audit_failure = Some("no database".into());
        assert!(!RunReport { targets, audit_failure, ..RunReport::default() }.passed());
    }
}
