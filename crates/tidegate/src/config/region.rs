//! `[node] region` and `[shared] region`: where data with a residency may be stored.

use cache::shared::{SharedOptions, SharedUrl};
use contract::config::ValueError;
use contract::{Contract, Contracts, Finding, Problem, Severity, TierRegions, lint_residency};

use super::node::Node;

/// The regions of the tiers; `None`: not configured.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Regions {
    /// The region of this process.
    pub(crate) node: Option<String>,
    /// The region of the shared tier; by default the process's.
    pub(crate) shared: Option<String>,
}

impl Regions {
    /// Returns the regions that the sections configure.
    ///
    /// # Errors
    /// The shared tier is in this process, and its region is another.
    pub(super) fn of(node: &Node, shared: &SharedOptions) -> Result<Self, Problem> {
        let (node, configured) = (node.region.clone(), shared.region.clone());
        let embedded = shared.url == SharedUrl::Memory;
        if let Some(region) = configured.as_ref().filter(|_| embedded && configured != node) {
            let message = format!(
                "`{region}` is not the region of `[node]`, and the tier `memory:` is in this process"
            );
            let err = ValueError { rule: "conflict", message, help: "remove it".to_owned() };
            return Err(err.at("shared.region"));
        }
        Ok(Self { shared: configured.or_else(|| node.clone()), node })
    }

    fn tiers(&self) -> TierRegions<'_> {
        TierRegions { process: self.node.as_deref(), shared: self.shared.as_deref() }
    }

    /// Returns the findings about contracts whose residency restricts the tiers here.
    pub(super) fn review<'a>(&self, all: impl IntoIterator<Item = &'a Contract>) -> Vec<Finding> {
        let all = all.into_iter();
        all.filter_map(|contract| lint_residency(contract, self.tiers())).collect()
    }

    /// Returns the contracts, each restricted to the tiers in its region.
    ///
    /// # Errors
    /// The contracts with a residency, where no region is configured.
    pub(super) fn restrict(&self, contracts: &Contracts) -> Result<Contracts, Vec<Problem>> {
        let findings = self.review(contracts.iter()).into_iter();
        let errors = findings.filter(|finding| finding.severity == Severity::Error);
        let errors: Vec<Problem> = errors.map(problem).collect();
        if !errors.is_empty() {
            return Err(errors);
        }
        let mut restricted: Vec<Contract> = contracts.iter().cloned().collect();
        restricted.iter_mut().for_each(|contract| contract.apply_residency(self.tiers()));
        Contracts::new(restricted).map_err(|err| err.problems)
    }
}

fn problem(finding: Finding) -> Problem {
    let Finding { rule, path, message, fix: help, .. } = finding;
    Problem { rule, path, message, help }
}
