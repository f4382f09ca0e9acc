//! The review of one contract, to which the rules add their findings.

use crate::lint::finding::{Finding, Severity};
use crate::model::contract::Contract;

/// A contract under review, and its findings so far.
pub(super) struct Review<'a> {
    pub(super) contract: &'a Contract,
    findings: Vec<Finding>,
}

impl<'a> Review<'a> {
    pub(super) fn new(contract: &'a Contract) -> Self {
        Self { contract, findings: Vec::new() }
    }

    /// Adds a finding about `key` of the contract, or about the contract if `key` is empty.
    pub(super) fn add(
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

    /// Returns the findings, most severe first.
    pub(super) fn into_findings(self) -> Vec<Finding> {
        let mut findings = self.findings;
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        findings
    }
}
