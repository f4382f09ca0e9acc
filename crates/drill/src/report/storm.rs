//! The report of a storm: each target's origin load against the capacity of its origin.

use std::fmt;

use serde_json::{Value, json};

use super::figures::TargetReport;
use super::run::RunReport;
use super::table::{grouped, milliseconds, row};

/// The report of a storm. The first target is the one under test.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StormReport {
    /// The report of the run.
    pub report: RunReport,
    /// Capacity of each target's origin, in requests per second.
    pub limit_per_second: f64,
    /// Budget of the contract under test, in seconds.
    pub budget_seconds: f64,
    /// Entries that one stock change invalidates.
    pub entries_per_write: u64,
}

impl StormReport {
    /// Returns [`RunReport::json`] with an additional object `storm`.
    pub fn json(&self) -> Value {
        let mut json = self.report.json();
        let load = |target: &TargetReport| (target.key.clone(), json!(self.origin_load(target)));
        json["storm"] = json!({
            "seconds": self.report.seconds,
            "writes": self.report.writes,
            "entries_per_write": self.entries_per_write,
            "budget_seconds": self.budget_seconds,
            "origin_limit_per_second": self.limit_per_second,
            "origin_requests_per_second":
                self.report.targets.iter().map(load).collect::<serde_json::Map<_, _>>(),
        });
        json
    }

    /// Returns whether the system under test kept its contracts and its origin's load stayed within
    /// the capacity.
    pub fn passed(&self) -> bool {
        let within = |target: &TargetReport| self.origin_load(target) <= self.limit_per_second;
        self.report.passed() && self.report.targets.first().is_some_and(within)
    }

    /// Returns the requests per second at the target's origin.
    fn origin_load(&self, target: &TargetReport) -> f64 {
        let load = target.figures.origin_requests as f64 / self.report.seconds.max(0.001);
        (load * 10.0).round() / 10.0
    }
}

impl fmt::Display for StormReport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = &self.report;
        writeln!(
            out,
            "{:.0} s of storm: {:.0} stock changes a second, each of which invalidates {} entries, and\n\
             the same reads through {} systems at the same time. Each has a shop of its own that can\n\
             answer {:.0} requests a second.\n",
            report.seconds,
            report.writes as f64 / report.seconds.max(0.001),
            grouped(self.entries_per_write),
            report.targets.len(),
            self.limit_per_second
        )?;
        let line =
            |out: &mut fmt::Formatter<'_>, label: &str, cell: &dyn Fn(&TargetReport) -> String| {
                row(out, label, report.targets.iter().map(cell))
            };
        line(out, "", &|of| of.title.clone())?;
        line(out, "STALER THAN CONTRACT", &|of| grouped(of.figures.stale_beyond_contract))?;
        line(out, "worst staleness seen", &|of| milliseconds(of.figures.worst_staleness_ms))?;
        line(out, "requests", &|of| grouped(of.figures.requests))?;
        line(out, "ERRORS", &|of| grouped(of.figures.errors))?;
        line(out, "requests/s at the shop", &|of| format!("{:.0}", self.origin_load(of)))?;
        line(out, "  of its capacity", &|of| {
            format!("{:.0} %", self.origin_load(of) / self.limit_per_second.max(0.001) * 100.0)
        })?;
        line(out, "hit rate", &|of| format!("{:.1} %", of.figures.hit_rate * 100.0))?;
        line(out, "latency p50", &|of| milliseconds(of.figures.latency_ms.p50))?;
        line(out, "latency p99", &|of| milliseconds(of.figures.latency_ms.p99))?;
        line(out, "worst bound claimed", &|of| {
            of.figures.worst_bound_ms.map_or_else(|| "–".into(), milliseconds)
        })?;
        line(out, "answers audited", &|of| grouped(of.figures.audited))?;
        writeln!(
            out,
            "\nStaler than contract: answers with a value replaced more than {:.0} s before the request, by\n\
             the database's own history. Latency counts from the planned send time.",
            self.budget_seconds
        )?;
        for target in &report.targets {
            for text in target.examples.iter().take(2) {
                writeln!(out, "  {:<18} {text}", target.title)?;
            }
            if let Some(error) = target.first_errors.first() {
                writeln!(out, "  {:<18} first error: {error}", target.title)?;
            }
        }
        for note in &report.notes {
            writeln!(out, "{note}")?;
        }
        let Some(target) = report.targets.first() else { return Ok(()) };
        write!(out, "\nVerdict: ")?;
        report.verdict().write(target, out)?;
        let is_within = self.origin_load(target) <= self.limit_per_second;
        let word = if is_within { "stayed within" } else { "exceeded" };
        writeln!(out, ". The load at its shop {word} the shop's capacity.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::TargetFigures;

    fn storm(origin_requests: u64) -> StormReport {
        let figures = TargetFigures { audited: 500, origin_requests, ..TargetFigures::default() };
        let target = |key: &str, figures| TargetReport {
            key: key.into(),
            figures,
            ..TargetReport::default()
        };
        let targets =
            vec![target("tidegate", figures), target("without_governor", TargetFigures::default())];
        let report = RunReport { targets, seconds: 10.0, writes: 900, ..RunReport::default() };
        StormReport {
            report,
            limit_per_second: 200.0,
            budget_seconds: 10.0,
            entries_per_write: 200,
        }
    }

    #[test]
    fn overloaded_origin_fails_run() {
        assert!(storm(1_990).passed());
        assert!(!storm(2_010).passed());
    }

    #[test]
    fn json_includes_origin_load() {
        let json = storm(1_500).json();
        assert_eq!(json["storm"]["origin_requests_per_second"]["tidegate"], 150.0);
        assert_eq!(json["storm"]["origin_limit_per_second"], 200.0);
        assert!(json["compare"]["without_governor"].is_object());
    }
}
