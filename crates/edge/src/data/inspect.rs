//! What the tiers would answer, without asking them to.

use cache::{Holding, Tier, TierError};
use contract::Key;
use thiserror::Error;

use super::DataFace;

/// Why nobody can say what would be answered.
#[derive(Debug, Error)]
pub enum InspectError {
    /// No contract of that name has a value.
    #[error("{0}")]
    NoContract(String),
    /// The contract makes no key of the id.
    #[error("{0}")]
    BadId(String),
}

/// What was seen under one key.
#[derive(Debug)]
pub struct Inspected {
    /// The key.
    pub key: Key,
    /// What the tiers hold.
    pub holdings: Vec<Holding>,
    /// The tier that did not answer, and why.
    pub unread: Option<(Tier, TierError)>,
}

impl DataFace {
    /// What each tier of this node holds for `id` under the contract `name`, and would answer; see
    /// [`cache::Engine::inspect`].
    ///
    /// # Errors
    /// [`InspectError`].
    pub async fn inspect(&self, name: &str, id: &str) -> Result<Inspected, InspectError> {
        let face = self.face(name).map_err(|refusal| InspectError::NoContract(refusal.detail))?;
        let key = face.contract.key(id).map_err(|err| InspectError::BadId(err.to_string()))?;
        let (holdings, unread) = match self.engine.inspect(&key, &face.policy).await {
            Ok(holdings) => (holdings, None),
            // What this process holds it can tell all the same, and would answer.
            Err(err) => {
                let local = self.engine.inspect_local(&key, &face.policy);
                (local.into_iter().collect(), Some((Tier::Shared, err)))
            }
        };
        Ok(Inspected { key, holdings, unread })
    }
}
