//! The linter: a review of contracts without traffic.
//!
//! Every finding has the problem, the reason why it matters and the fix. Rule ids are stable.

mod finding;
mod ownership;
mod residency;
mod review;
mod sensitivity;
mod service;
mod sql;
mod structure;
#[cfg(test)]
mod tests;
mod time;

pub use finding::{Finding, Severity};
pub use residency::lint_residency;

use crate::lint::review::Review;
use crate::model::contract::Contract;
use crate::model::contracts::{Contracts, clash};

/// Reviews contracts that were parsed without problems.
pub fn lint(contracts: &Contracts) -> Vec<Finding> {
    contracts.iter().flat_map(lint_one).collect()
}

/// Reviews the `[data]` table of a configuration. A contract that can't be parsed becomes a finding too,
/// and the other contracts are still reviewed.
pub fn lint_toml(data: &toml::Table) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut parsed: Vec<Contract> = Vec::new();
    for (name, value) in data {
        match Contract::from_value(name, value) {
            Err(err) => findings.extend(err.problems.into_iter().map(Finding::from)),
            Ok(contract) => {
                let clashes = parsed.iter().filter_map(|earlier| clash(earlier, &contract));
                findings.extend(clashes.map(Finding::from));
                findings.extend(lint_one(&contract));
                parsed.push(contract);
            }
        }
    }
    findings
}

/// Returns the findings of one contract, most severe first.
fn lint_one(contract: &Contract) -> Vec<Finding> {
    let mut review = Review::new(contract);
    ownership::check(&mut review);
    time::check(&mut review);
    sensitivity::check(&mut review);
    structure::check(&mut review);
    service::check(&mut review);
    review.into_findings()
}
