//! The linter's findings about the contracts of a configuration, each with its place.

use std::fmt;
use std::path::PathBuf;

use contract::{Finding, Severity};
use serde_json::{Value, json};

/// A finding and its place.
#[derive(Debug)]
pub(crate) struct FileFinding {
    pub(super) finding: Finding,
    pub(super) file: PathBuf,
    /// From 1.
    pub(super) line: Option<usize>,
}

/// All findings of a configuration, contract by contract.
#[derive(Debug, Default)]
pub(crate) struct Findings(pub(super) Vec<FileFinding>);

impl Findings {
    /// Returns the number of findings of this severity.
    pub(crate) fn count(&self, severity: Severity) -> usize {
        self.0.iter().filter(|found| found.finding.severity == severity).count()
    }

    /// Returns whether a finding is an error, so that no node may start.
    pub(crate) fn has_errors(&self) -> bool {
        self.count(Severity::Error) > 0
    }

    /// Returns the findings as JSON.
    pub(crate) fn json(&self) -> Value {
        let json = |FileFinding { finding, file, line }: &FileFinding| {
            json!({
                "rule": finding.rule, "severity": finding.severity, "contract": finding.contract,
                "path": finding.path, "message": finding.message, "reason": finding.reason,
                "fix": finding.fix, "file": file, "line": line,
            })
        };
        self.0.iter().map(json).collect()
    }

    /// Logs each finding with its place and its fix: warnings as warnings, notes as information.
    pub(crate) fn log(&self) {
        for found in &self.0 {
            let FileFinding { file, line, finding } = found;
            let Finding { rule, severity, path, message, fix, .. } = finding;
            let (file, line) = (file.display(), line.unwrap_or_default());
            if *severity == Severity::Info {
                tracing::info!(rule, %file, line, fix, "{path}: {message}");
            } else {
                tracing::warn!(rule, %file, line, fix, "{path}: {message}");
            }
        }
    }
}

/// One paragraph per finding, and a line with the counts.
impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|found| writeln!(f, "{found}"))?;
        let (errors, warnings) = (self.count(Severity::Error), self.count(Severity::Warning));
        write!(f, "{errors} errors, {warnings} warnings")
    }
}

impl fmt::Display for FileFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FileFinding { file, line, finding } = self;
        let severity = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Info => "note",
        };
        writeln!(f, "{severity}[{}] {}: {}", finding.rule, finding.path, finding.message)?;
        write!(f, "    at   {}", file.display())?;
        if let Some(line) = line {
            write!(f, ": line {line}")?;
        }
        writeln!(f)?;
        writeln!(f, "    why  {}", finding.reason)?;
        writeln!(f, "    fix  {}", finding.fix)
    }
}
