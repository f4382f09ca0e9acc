//! Findings of the linter.

use std::fmt;

use serde::Serialize;

use crate::config::Problem;

/// A finding of the linter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The rule's stable name, in kebab-case.
    pub rule: &'static str,
    /// The severity.
    pub severity: Severity,
    /// The contract's name.
    pub contract: String,
    /// The key in the configuration: `data.product_price.ttl`.
    pub path: String,
    /// The problem.
    pub message: String,
    /// Why it matters.
    pub reason: String,
    /// The fix.
    pub fix: String,
}

/// The severity of a finding, mildest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// A hint.
    Info,
    /// A risk.
    Warning,
    /// A defect that must be fixed before the contract goes live.
    Error,
}

impl From<Problem> for Finding {
    fn from(problem: Problem) -> Self {
        let reason = match problem.rule {
            "unknown-key" => {
                "an unknown key would have no effect, so it is an error rather than ignored"
            }
            "missing" => "no default is right for every shop",
            "malformed-key" => {
                "version, service and entity in every key keep services from reading each other's \
                 entries, and a new version starts from an empty cache after a change of format"
            }
            "key-clash" | "name-clash" => "two kinds of data must never share a name",
            _ => "the contract can't be parsed, so none of its rules could be enforced",
        };
        let contract = problem.path.split('.').nth(1).unwrap_or_default().to_owned();
        Finding {
            rule: problem.rule,
            severity: Severity::Error,
            contract,
            path: problem.path,
            message: problem.message,
            reason: reason.to_owned(),
            fix: problem.help,
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Error => "error",
        })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}[{}] {}", self.severity, self.rule, self.path)?;
        writeln!(f, "  {}", self.message)?;
        writeln!(f, "  why: {}", self.reason)?;
        write!(f, "  fix: {}", self.fix)
    }
}
