//! What came of a storm: the arms beside what their origins can bear.

use std::fmt;

use serde_json::{Value, json};

use super::table::{grouped, milliseconds, row};
use super::{ArmResult, Report};

/// A storm's report. The first arm is the one under test.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StormReport {
    /// The figures.
    pub report: Report,
    /// What each arm's origin can answer, in requests a second.
    pub limit_per_second: f64,
    /// Seconds of budget in the contract under storm.
    pub budget_seconds: f64,
    /// How many entries one movement makes old.
    pub entries_per_write: u64,
}

impl StormReport {
    /// As [`Report::json`], with a part `storm` of its own.
    pub fn json(&self) -> Value {
        let mut json = self.report.json();
        let load = |arm: &ArmResult| (arm.key.clone(), json!(self.origin_load(arm)));
        json["storm"] = json!({
            "seconds": self.report.seconds,
            "writes": self.report.writes,
            "entries_per_write": self.entries_per_write,
            "budget_seconds": self.budget_seconds,
            "origin_limit_per_second": self.limit_per_second,
            "origin_requests_per_second":
                self.report.arms.iter().map(load).collect::<serde_json::Map<_, _>>(),
        });
        json
    }

    /// Whether the arm under test kept its contracts, and its origin on its feet.
    pub fn is_good(&self) -> bool {
        let spared = |arm: &ArmResult| self.origin_load(arm) <= self.limit_per_second;
        self.report.is_good() && self.report.arms.first().is_some_and(spared)
    }

    fn origin_load(&self, arm: &ArmResult) -> f64 {
        let load = arm.report.origin_requests as f64 / self.report.seconds.max(0.001);
        (load * 10.0).round() / 10.0
    }
}

impl fmt::Display for StormReport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = &self.report;
        writeln!(
            out,
            "{:.0} s of storm: {:.0} movements of stock a second, each of which makes {} entries old, and\n\
             the same reads through {} systems at the same time. Each has a shop of its own that can\n\
             answer {:.0} requests a second.\n",
            report.seconds,
            report.writes as f64 / report.seconds.max(0.001),
            grouped(self.entries_per_write),
            report.arms.len(),
            self.limit_per_second
        )?;
        let line =
            |out: &mut fmt::Formatter<'_>, label: &str, cell: &dyn Fn(&ArmResult) -> String| {
                row(out, label, report.arms.iter().map(cell))
            };
        line(out, "", &|arm| arm.title.clone())?;
        line(out, "requests", &|arm| grouped(arm.report.requests))?;
        line(out, "ERRORS", &|arm| grouped(arm.report.errors))?;
        line(out, "requests/s at the shop", &|arm| format!("{:.0}", self.origin_load(arm)))?;
        line(out, "  of what it can bear", &|arm| {
            format!("{:.0} %", self.origin_load(arm) / self.limit_per_second.max(0.001) * 100.0)
        })?;
        line(out, "hit rate", &|arm| format!("{:.1} %", arm.report.hit_rate * 100.0))?;
        line(out, "latency p50", &|arm| milliseconds(arm.report.latency_ms.p50))?;
        line(out, "latency p99", &|arm| milliseconds(arm.report.latency_ms.p99))?;
        line(out, "worst bound claimed", &|arm| {
            arm.report.worst_bound_ms.map_or_else(|| "–".into(), milliseconds)
        })?;
        line(out, "answers audited", &|arm| grouped(arm.report.audited))?;
        line(out, "STALER THAN CONTRACT", &|arm| grouped(arm.report.stale_beyond_contract))?;
        line(out, "worst staleness seen", &|arm| milliseconds(arm.report.worst_staleness_ms))?;
        writeln!(
            out,
            "\nStaler than contract: answers with a value replaced more than {:.0} s before they were asked\n\
             for, by the database's own history. Latency counts from the planned send time.",
            self.budget_seconds
        )?;
        for arm in &report.arms {
            for text in arm.examples.iter().take(2) {
                writeln!(out, "  {:<18} {text}", arm.title)?;
            }
            if let Some(error) = arm.first_errors.first() {
                writeln!(out, "  {:<18} first error: {error}", arm.title)?;
            }
        }
        for note in &report.notes {
            writeln!(out, "{note}")?;
        }
        match (&report.audit_failure, report.arms.first()) {
            (Some(failure), _) => {
                writeln!(out, "\nVerdict: none. The audit could not read the truth: {failure}")
            }
            (None, Some(arm)) => writeln!(
                out,
                "\nVerdict: {} {} its contract in {} audited answers, and {} its shop.",
                arm.title,
                if report.is_good() { "kept" } else { "broke" },
                grouped(arm.report.audited),
                if self.origin_load(arm) <= self.limit_per_second { "spared" } else { "overran" }
            ),
            (None, None) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::ArmReport;

    fn storm(origin_requests: u64) -> StormReport {
        let figures = ArmReport { audited: 5, origin_requests, ..ArmReport::default() };
        let arm = |key: &str, report| ArmResult { key: key.into(), report, ..ArmResult::default() };
        let arms = vec![arm("tidegate", figures), arm("without_governor", ArmReport::default())];
        let report = Report { arms, seconds: 10.0, writes: 900, ..Report::default() };
        StormReport {
            report,
            limit_per_second: 200.0,
            budget_seconds: 10.0,
            entries_per_write: 200,
        }
    }

    #[test]
    fn an_origin_that_was_overrun_is_no_good_run() {
        assert!(storm(1_990).is_good());
        assert!(!storm(2_010).is_good());
    }

    #[test]
    fn the_json_says_what_the_origin_had_to_bear() {
        let json = storm(1_500).json();
        assert_eq!(json["storm"]["origin_requests_per_second"]["tidegate"], 150.0);
        assert_eq!(json["storm"]["origin_limit_per_second"], 200.0);
        assert!(json["compare"]["without_governor"].is_object());
    }
}
