//! The review of contracts that a careful colleague would give, as far as it needs no traffic.
//!
//! Every finding says what is wrong, why that hurts and what to do; its rule id is stable.

mod care;
mod people;
mod service;
mod shape;
mod sql;
#[cfg(test)]
mod tests;
mod time;

use std::fmt;

use serde::Serialize;
use toml::Value;

use crate::contract::Contract;
use crate::set::{Contracts, clash};
use crate::toml_in::Problem;

/// One thing the review found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The rule's stable name, kebab-case.
    pub rule: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// The contract's name.
    pub contract: String,
    /// Where in the configuration: `data.product_price.ttl`.
    pub path: String,
    /// What is so.
    pub message: String,
    /// Why it matters.
    pub reason: String,
    /// What to do.
    pub fix: String,
}

/// How bad a finding is, mildest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Will hurt on some day.
    Warning,
    /// Must be mended before this goes live.
    Error,
}

/// Reviews contracts that were read without problems.
pub fn lint(contracts: &Contracts) -> Vec<Finding> {
    contracts.iter().flat_map(lint_one).collect()
}

/// Reviews the `[data]` table of a configuration. What can't even be read becomes a finding too, and
/// does not keep the other contracts from being reviewed.
pub fn lint_toml(data: &toml::Table) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut read: Vec<Contract> = Vec::new();
    for (name, value) in data {
        let parsed = match value {
            Value::Table(table) => Contract::from_toml(name, table),
            other => Err(Problem::not_a_table(name, other).into()),
        };
        match parsed {
            Err(err) => findings.extend(err.problems.into_iter().map(Finding::from)),
            Ok(contract) => {
                let clashes = read.iter().filter_map(|earlier| clash(earlier, &contract));
                findings.extend(clashes.map(Finding::from));
                findings.extend(lint_one(&contract));
                read.push(contract);
            }
        }
    }
    findings
}

/// The findings of one contract, worst first.
fn lint_one(contract: &Contract) -> Vec<Finding> {
    let mut report = Report { contract, findings: Vec::new() };
    people::check(&mut report);
    time::check(&mut report);
    care::check(&mut report);
    shape::check(&mut report);
    service::check(&mut report);
    let mut findings = report.findings;
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    findings
}

/// What the rules write into.
struct Report<'a> {
    contract: &'a Contract,
    findings: Vec<Finding>,
}

impl Report<'_> {
    /// Notes a finding about `key` of the contract, or the contract where it is empty.
    fn add(
        &mut self,
        (severity, rule): (Severity, &'static str),
        key: &str,
        message: impl Into<String>,
        reason: impl Into<String>,
        fix: impl Into<String>,
    ) {
        let dot = if key.is_empty() { "" } else { "." };
        self.findings.push(Finding {
            rule,
            severity,
            contract: self.contract.name.clone(),
            path: format!("data.{}{dot}{key}", self.contract.name),
            message: message.into(),
            reason: reason.into(),
            fix: fix.into(),
        });
    }
}

impl From<Problem> for Finding {
    fn from(problem: Problem) -> Self {
        let reason = match problem.rule {
            "unknown-key" => {
                "a key that nobody reads is a promise that nobody keeps, so it is refused rather \
                 than skipped"
            }
            "missing" => "there is no default that would be right for every shop",
            "malformed-key" => {
                "version, service and entity in every key keep services from reading each other's \
                 entries, and let a format change start from empty"
            }
            "key-clash" | "name-clash" => "two kinds of data must never meet under one name",
            _ => "the contract can't be read as it stands, so nothing it promises could be kept",
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
