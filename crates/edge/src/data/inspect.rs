//! Inspection of the tiers without loads or fills.

use cache::{Tier, TierEntry, TierError};
use contract::Key;
use thiserror::Error;

use super::api::DataApi;

/// The id or the contract of an inspection is invalid.
#[derive(Debug, Error)]
pub enum InspectError {
    /// No contract of that name has a value.
    #[error("{0}")]
    UnknownContract(String),
    /// The contract rejects the ID.
    #[error("{0}")]
    InvalidId(String),
}

/// The state of one key in the tiers.
#[derive(Debug)]
pub struct Inspected {
    /// The key.
    pub key: Key,
    /// The entries in the tiers.
    pub entries: Vec<TierEntry>,
    /// The tier that failed, and why.
    pub failed: Option<(Tier, TierError)>,
}

impl DataApi {
    /// Returns the entry of each tier of this node for `id` under the contract `name`, and whether the
    /// tier would serve it; see [`cache::Engine::inspect`].
    ///
    /// # Errors
    /// [`InspectError`] where the contract is unknown or rejects the ID.
    pub async fn inspect(&self, name: &str, id: &str) -> Result<Inspected, InspectError> {
        let served =
            self.find(name, |_| true).map_err(|err| InspectError::UnknownContract(err.detail))?;
        let key =
            served.contract.key(id).map_err(|err| InspectError::InvalidId(err.to_string()))?;
        let engine = &served.source.engine;
        let (entries, failed) = match engine.inspect(&key, &served.policy).await {
            Ok(entries) => (entries, None),
            // The in-process tier still serves reads, so its entry is reported.
            Err(err) => {
                let local = engine.inspect_local(&key, &served.policy);
                (local.into_iter().collect(), Some((Tier::Shared, err)))
            }
        };
        Ok(Inspected { key, entries, failed })
    }
}
