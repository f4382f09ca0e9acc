//! The data API and the contracts it serves.

use std::collections::BTreeMap;
use std::sync::Arc;

use access::{Caller, Gate, Listener};
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
    pub(super) gate: Gate,
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
    /// Creates a data API that serves each contract under its name to the callers that `gate` knows.
    #[must_use]
    pub fn new(engine: Engine, contracts: Vec<ServedContract>, gate: Gate) -> Self {
        let named = contracts.into_iter().map(|served| (served.contract.name.clone(), served));
        let (contracts, ids) = (Arc::new(named.collect()), Arc::new(RequestIds::new()));
        Self { engine, contracts, ids, sampler: None, gate }
    }

    /// Calls `sampler` for every answer.
    #[must_use]
    pub fn with_sampler(self, sampler: Arc<dyn Sampler>) -> Self {
        Self { sampler: Some(sampler), ..self }
    }

    /// The contract of that name, for a caller that may read it.
    ///
    /// # Errors
    /// [`DataError`]: the caller may not read it, or there is none; the text names the contracts that the
    /// caller may read.
    pub(super) fn served(&self, name: &str, caller: &Caller) -> Result<&ServedContract, DataError> {
        caller
            .require_read(name)
            .inspect_err(|refusal| self.gate.refused(Listener::Data, refusal))?;
        self.find(name, |known| caller.may_read(known))
    }

    /// The contract of that name.
    ///
    /// # Errors
    /// [`DataError`] with the names of the contracts that `shows` selects.
    pub(super) fn find(
        &self,
        name: &str,
        shows: impl Fn(&str) -> bool,
    ) -> Result<&ServedContract, DataError> {
        self.contracts.get(name).ok_or_else(|| {
            let known = self.contracts.keys().map(String::as_str).filter(|known| shows(known));
            let known: Vec<&str> = known.collect();
            let detail = format!(
                "no contract {name:?} has a value; contracts with values: {}",
                known.join(", ")
            );
            DataError::new(StatusCode::NOT_FOUND, "Unknown contract", detail)
        })
    }
}
