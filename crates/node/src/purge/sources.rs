//! Purge requests of a node that follows several sources: each subject goes to the logs whose tiers may store what it
//! names.

use std::sync::Arc;

use coherence::{CausalTokens, Subject};
use contract::{Contract, Contracts, Pattern};
use futures_util::future::join_all;

use super::invalidator::LogInvalidator;
use super::request::{DryRun, InvalidationError, InvalidationReceipt, InvalidationRequest};

/// The invalidators of all sources.
pub struct Invalidators {
    /// By the names of their sources, the main source first.
    sources: Vec<(Arc<str>, LogInvalidator)>,
    contracts: Arc<Contracts>,
}

/// The receipt of a request, from each log that it went to: at least one.
#[derive(Debug)]
pub struct SourceReceipts(pub Vec<(Arc<str>, InvalidationReceipt)>);

impl SourceReceipts {
    /// Returns the token of all logs.
    #[must_use]
    pub fn tokens(&self) -> Option<CausalTokens> {
        CausalTokens::new(self.0.iter().map(|(_, receipt)| receipt.token).collect())
    }
}

impl Invalidators {
    /// Creates the invalidators of a node. `sources`: by name, the main source first; it has the pages, and the
    /// contracts without a source. `contracts`: those of all sources.
    #[must_use]
    pub fn new(sources: Vec<(Arc<str>, LogInvalidator)>, contracts: Arc<Contracts>) -> Self {
        Self { sources, contracts }
    }

    /// Writes a request to the logs that it concerns, and waits until the tiers of each have applied it.
    ///
    /// # Errors
    /// As [`LogInvalidator::invalidate`], of the first log that failed. The other logs have applied it nevertheless.
    pub async fn invalidate(
        &self,
        request: InvalidationRequest,
    ) -> Result<SourceReceipts, InvalidationError> {
        let parts = self.parts(&request).into_iter().map(|(name, invalidator, part)| async move {
            let receipt = invalidator.invalidate(part).await;
            receipt.map(|receipt| (Arc::clone(name), receipt)).map_err(|err| self.of(name, err))
        });
        let receipts = join_all(parts).await.into_iter().collect::<Result<Vec<_>, _>>()?;
        Ok(SourceReceipts(receipts))
    }

    /// Counts the entries that a request would remove, and removes nothing.
    ///
    /// # Errors
    /// As [`LogInvalidator::dry_run`].
    pub async fn dry_run(&self, request: InvalidationRequest) -> Result<DryRun, InvalidationError> {
        let parts = self.parts(&request).into_iter();
        let counted = join_all(parts.map(|(_, invalidator, part)| invalidator.dry_run(part))).await;
        let mut counted = counted.into_iter();
        let none = || InvalidationError::Invalid("the request names no subject".into());
        let mut total = counted.next().ok_or_else(none)??;
        for other in counted {
            let DryRun { shared, local, .. } = other?;
            total.shared.add(shared);
            total.local.add(local);
        }
        total.subjects = request.into_subjects();
        Ok(total)
    }

    /// Returns the pattern of a contract's keys.
    ///
    /// # Errors
    /// A sentence that names the contracts there are, or the reason that the keys have no pattern.
    pub fn key_pattern(&self, contract: &str) -> Result<Pattern, String> {
        match self.contracts.get(contract) {
            Some(contract) => contract.key.pattern().map_err(|err| err.to_string()),
            None => {
                let names: Vec<&str> = self.contracts.iter().map(|c| c.name.as_str()).collect();
                Err(format!("there is no such contract; there are: {}", names.join(", ")))
            }
        }
    }

    /// The part of a request for each log that it concerns.
    fn parts(
        &self,
        request: &InvalidationRequest,
    ) -> Vec<(&Arc<str>, &LogInvalidator, InvalidationRequest)> {
        let parts = self.sources.iter().enumerate().filter_map(|(at, (name, invalidator))| {
            let part = request.part(|subject| self.concerns(at, name, subject))?;
            Some((name, invalidator, part))
        });
        parts.collect()
    }

    /// Whether the tiers of a source may store entries that the subject names. Tags are of all sources.
    fn concerns(&self, at: usize, name: &str, subject: &Subject) -> bool {
        match subject {
            Subject::Key(key) => {
                let mut owners = self.owners(|contract| contract.key.prefix() == key.prefix());
                owners.next().map_or(at == 0, |owner| self.is_of(owner, at, name))
            }
            Subject::KeysLike(pattern) => {
                let owners = self.owners(|contract| is_of_contract(pattern, contract));
                let owners: Vec<&Contract> = owners.collect();
                owners.is_empty() || owners.iter().any(|owner| self.is_of(owner, at, name))
            }
            Subject::Tag(_) | Subject::TagsLike(_) | Subject::Everything => true,
        }
    }

    fn owners<'a>(
        &'a self,
        owns: impl Fn(&Contract) -> bool + 'a,
    ) -> impl Iterator<Item = &'a Contract> + 'a {
        self.contracts.iter().filter(move |contract| owns(contract))
    }

    fn is_of(&self, contract: &Contract, at: usize, name: &str) -> bool {
        match &contract.from {
            Some(from) => from.source == name,
            None => at == 0,
        }
    }

    /// Names the source in an error, where there are several.
    fn of(&self, name: &str, err: InvalidationError) -> InvalidationError {
        match err {
            InvalidationError::NotLogged { cause, dropped } if self.sources.len() > 1 => {
                InvalidationError::NotLogged { cause: format!("[source.{name}] {cause}"), dropped }
            }
            other => other,
        }
    }
}

/// Whether all keys that a pattern names are of one contract.
fn is_of_contract(pattern: &Pattern, contract: &Contract) -> bool {
    let rest = pattern.as_str().strip_prefix(contract.key.prefix());
    rest.is_some_and(|rest| rest.starts_with(':'))
}
