//! The data API and the contracts it serves.

use std::collections::BTreeMap;
use std::sync::Arc;

use cache::{Answer, Engine, Origin, Policy};
use contract::{Contract, Key};
use http::StatusCode;

use super::error::DataError;
use crate::http::request_id::RequestIds;

/// Observes the answers that clients get. It is called for every answer, so it must be fast and must
/// not block.
pub trait Sampler: Send + Sync + 'static {
    /// Called before `answer` is sent.
    fn answered(&self, key: &Key, id: &str, policy: &Policy, answer: &Answer);
}

/// Serves values from the engine. Clones share all state.
#[derive(Clone)]
pub struct DataApi {
    pub(super) engine: Engine,
    contracts: Arc<BTreeMap<String, ServedContract>>,
    pub(super) ids: Arc<RequestIds>,
    pub(super) sampler: Option<Arc<dyn Sampler>>,
}

/// A contract that the data API serves.
pub struct ServedContract {
    /// The rules, and the form of keys.
    pub contract: Contract,
    /// The rules as the engine applies them.
    pub policy: Arc<Policy>,
    /// The source of values.
    pub origin: Arc<dyn Origin>,
}

impl DataApi {
    /// Creates a data API that serves each contract under its name.
    #[must_use]
    pub fn new(engine: Engine, contracts: Vec<ServedContract>) -> Self {
        let named = contracts.into_iter().map(|served| (served.contract.name.clone(), served));
        let (contracts, ids) = (Arc::new(named.collect()), Arc::new(RequestIds::new()));
        Self { engine, contracts, ids, sampler: None }
    }

    /// Calls `sampler` for every answer.
    #[must_use]
    pub fn with_sampler(self, sampler: Arc<dyn Sampler>) -> Self {
        Self { sampler: Some(sampler), ..self }
    }

    /// The contract of that name.
    ///
    /// # Errors
    /// [`DataError`] with the names of all contracts.
    pub(super) fn served(&self, name: &str) -> Result<&ServedContract, DataError> {
        self.contracts.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.contracts.keys().map(String::as_str).collect();
            let detail = format!(
                "no contract {name:?} has a value; contracts with values: {}",
                known.join(", ")
            );
            DataError::new(StatusCode::NOT_FOUND, "Unknown contract", detail)
        })
    }
}
