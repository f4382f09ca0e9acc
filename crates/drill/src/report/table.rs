//! The report for people: the arms side by side.

use std::fmt;

use super::{ArmResult, Report};

const LABEL: usize = 34;
const COLUMN: usize = 18;

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "The same {:.0} s of traffic and {} writes, at the same time, through {} systems:\n",
            self.seconds,
            grouped(self.writes),
            self.arms.len()
        )?;
        row(out, "", self.arms.iter().map(|arm| arm.title.clone()))?;
        writeln!(out, "{}", "─".repeat(LABEL + COLUMN * self.arms.len()))?;
        self.row(out, "requests", |arm| grouped(arm.report.requests))?;
        self.row(out, "errors", |arm| grouped(arm.report.errors))?;
        self.row(out, "hit rate", |arm| format!("{:.1} %", arm.report.hit_rate * 100.0))?;
        self.row(out, "requests to the shop", |arm| grouped(arm.report.origin_requests))?;
        self.row(out, "latency mean", |arm| milliseconds(arm.report.latency_ms.mean))?;
        self.row(out, "latency p50", |arm| milliseconds(arm.report.latency_ms.p50))?;
        self.row(out, "latency p99", |arm| milliseconds(arm.report.latency_ms.p99))?;
        self.row(out, "invalidations", |arm| grouped(arm.report.invalidations))?;
        self.row(out, "commit → gone, p50 / p99", |arm| {
            let gone = arm.report.commit_to_gone_ms;
            let known = gone.p50.zip(gone.p99);
            known.map_or_else(|| "–".into(), |(p50, p99)| format!("{p50:.1} / {p99:.1} ms"))
        })?;
        self.row(out, "worst bound claimed", |arm| {
            arm.report.worst_bound_ms.map_or_else(|| "–".into(), milliseconds)
        })?;
        self.row(out, "answers audited", |arm| grouped(arm.report.audited))?;
        self.row(out, "STALER THAN CONTRACT", |arm| grouped(arm.report.stale_beyond_contract))?;
        self.row(out, "worst staleness seen", |arm| milliseconds(arm.report.worst_staleness_ms))?;
        writeln!(out)?;
        self.explain(out)
    }
}

impl Report {
    fn row(
        &self,
        out: &mut fmt::Formatter<'_>,
        label: &str,
        cell: impl Fn(&ArmResult) -> String,
    ) -> fmt::Result {
        row(out, label, self.arms.iter().map(cell))
    }

    fn explain(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "Staler than contract: answers that showed a price replaced more than 1 s before they were\n\
             asked for, a stock level more than 2 s, or a text or list more than 60 s, by the database's\n\
             own history. Latency counts from the planned send time."
        )?;
        for arm in &self.arms {
            for (index, example) in arm.examples.iter().take(2).enumerate() {
                let title = if index == 0 { arm.title.as_str() } else { "" };
                writeln!(out, "  {title:<18} {example}")?;
            }
            if let Some(error) = arm.first_errors.first() {
                writeln!(out, "  {:<18} first error: {error}", arm.title)?;
            }
        }
        if self.writes_refused > 0 {
            writeln!(out, "{} writes were refused or failed.", grouped(self.writes_refused))?;
        }
        if self.unaudited > 0 {
            writeln!(out, "The auditor had no time for {} answers.", grouped(self.unaudited))?;
        }
        for note in &self.notes {
            writeln!(out, "{note}")?;
        }
        match (&self.audit_failure, self.arms.first()) {
            (Some(failure), _) => {
                writeln!(out, "\nVerdict: none. The audit could not read the truth: {failure}")
            }
            (None, Some(arm)) if self.is_good() => writeln!(
                out,
                "\nVerdict: {} kept every contract in {} audited answers.",
                arm.title,
                grouped(arm.report.audited)
            ),
            (None, Some(arm)) => writeln!(
                out,
                "\nVerdict: {} broke its contract in {} of {} audited answers.",
                arm.title,
                grouped(arm.report.stale_beyond_contract),
                grouped(arm.report.audited)
            ),
            (None, None) => Ok(()),
        }
    }
}

pub(super) fn row(
    out: &mut fmt::Formatter<'_>,
    label: &str,
    cells: impl Iterator<Item = String>,
) -> fmt::Result {
    write!(out, "{label:<LABEL$}")?;
    for cell in cells {
        write!(out, "{cell:>COLUMN$}")?;
    }
    writeln!(out)
}

pub(crate) fn milliseconds(value: f64) -> String {
    if value >= 10_000.0 {
        format!("{:.1} s", value / 1000.0)
    } else if value >= 100.0 {
        format!("{value:.0} ms")
    } else {
        format!("{value:.2} ms")
    }
}

/// `1234567` as `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_made_for_reading() {
        assert_eq!(grouped(7), "7");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(milliseconds(0.4567), "0.46 ms");
        assert_eq!(milliseconds(12_345.0), "12.3 s");
    }
}
