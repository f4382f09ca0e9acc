//! `[node] region` and `[shared] region`: where data with a residency may be stored.

use std::path::Path;

use contract::{Contract, Contracts, Finding, Severity, TierRegions, is_region, lint_residency};
use serde::Deserialize;

use super::error::ConfigError;
use super::shared::SharedSection;
use super::url::SharedUrl;

/// `[node]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct NodeSection {
    pub(super) region: Option<String>,
}

/// The configured regions; `None`: not configured.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Regions {
    /// The region of this process.
    pub(crate) node: Option<String>,
    /// The region of the shared tier; by default the process's.
    pub(crate) shared: Option<String>,
}

impl Regions {
    pub(super) fn check(node: &NodeSection, shared: &SharedSection) -> Result<Self, String> {
        let named = |table: &str, region: &Option<String>| match region {
            Some(text) if !is_region(text) => Err(format!(
                "[{table}] region = {text:?}: use 1 to 64 of a-z, 0-9 and -, such as \"eu-west\""
            )),
            region => Ok(region.clone()),
        };
        let node = named("node", &node.region)?;
        let configured = named("shared", &shared.region)?;
        let embedded = matches!(shared.url.parse(), Ok(SharedUrl::Memory));
        if embedded && configured.is_some() && configured != node {
            return Err(format!(
                "[shared] region = {:?}: `memory:` is in this process, so its region is that of [node]; \
                 remove it",
                configured.unwrap_or_default()
            ));
        }
        Ok(Self { shared: configured.or_else(|| node.clone()), node })
    }

    fn tiers(&self) -> TierRegions<'_> {
        TierRegions { process: self.node.as_deref(), shared: self.shared.as_deref() }
    }

    /// Returns the findings about contracts whose residency restricts the tiers here.
    pub(crate) fn review<'a>(&self, all: impl IntoIterator<Item = &'a Contract>) -> Vec<Finding> {
        let all = all.into_iter();
        all.filter_map(|contract| lint_residency(contract, self.tiers())).collect()
    }

    /// Returns the contracts, each restricted to the tiers in its region. `path`: the file, for the error.
    pub(super) fn restrict(
        &self,
        path: &Path,
        contracts: &Contracts,
    ) -> Result<Contracts, ConfigError> {
        let findings = self.review(contracts.iter());
        if let Some(error) = findings.iter().find(|found| found.severity == Severity::Error) {
            let Finding { path: place, message, fix, .. } = error;
            return Err(ConfigError::content(path, format!("{place}: {message}; {fix}")));
        }
        let mut restricted: Vec<Contract> = contracts.iter().cloned().collect();
        restricted.iter_mut().for_each(|contract| contract.apply_residency(self.tiers()));
        Contracts::new(restricted).map_err(|err| ConfigError::content(path, err.to_string()))
    }
}
