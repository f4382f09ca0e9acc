//! Where this process and its shared tier run, and what that means for data that may not leave a
//! region.

use std::path::Path;

use contract::{Contract, Contracts, Finding, Places, Severity, is_region, lint_residency};

use super::{ConfigError, SharedUrl, raw};

/// Regions as they are said; `None`: nobody has.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Regions {
    /// Of this process.
    pub(crate) node: Option<String>,
    /// Of the shared tier; as the process's unless said otherwise.
    pub(crate) shared: Option<String>,
}

impl Regions {
    pub(super) fn check(raw: &raw::Config) -> Result<Self, String> {
        let named = |table: &str, region: &Option<String>| match region {
            Some(text) if !is_region(text) => Err(format!(
                "[{table}] region = {text:?}: use 1 to 64 of a-z, 0-9 and -, such as \"eu-west\""
            )),
            region => Ok(region.clone()),
        };
        let node = named("node", &raw.node.region)?;
        let said = named("shared", &raw.shared.region)?;
        let embedded = matches!(raw.shared.url.parse(), Ok(SharedUrl::Memory));
        if embedded && said.is_some() && said != node {
            return Err(format!(
                "[shared] region = {:?}: `memory:` is in this process, so it runs where [node] \
                 region says; remove it",
                said.unwrap_or_default()
            ));
        }
        Ok(Self { shared: said.or_else(|| node.clone()), node })
    }

    fn places(&self) -> Places<'_> {
        Places { process: self.node.as_deref(), shared: self.shared.as_deref() }
    }

    /// What the places mean for the contracts.
    pub(crate) fn review<'a>(&self, all: impl IntoIterator<Item = &'a Contract>) -> Vec<Finding> {
        let all = all.into_iter();
        all.filter_map(|contract| lint_residency(contract, self.places())).collect()
    }

    /// The contracts as they are kept here.
    pub(super) fn settle(
        &self,
        path: &Path,
        contracts: &Contracts,
    ) -> Result<Contracts, ConfigError> {
        let content = |message: String| ConfigError::Content { path: path.to_owned(), message };
        let findings = self.review(contracts.iter());
        if let Some(error) = findings.iter().find(|found| found.severity == Severity::Error) {
            let Finding { path, message, fix, .. } = error;
            return Err(content(format!("{path}: {message}; {fix}")));
        }
        let mut kept: Vec<Contract> = contracts.iter().cloned().collect();
        kept.iter_mut().for_each(|contract| contract.keep_in(self.places()));
        Contracts::new(kept).map_err(|err| content(err.to_string()))
    }
}
