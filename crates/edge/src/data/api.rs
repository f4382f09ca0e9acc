//! The data API and the contracts it serves.

use std::any::Any;
use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::{Arc, Weak};

use access::{Caller, Gate, Listener};
use cache::{Answer, Engine, Origin, Policy};
use coherence::{CausalToken, CausalTokens};
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

/// Serves values from the engines of all sources. Clones share all state.
#[derive(Clone)]
pub struct DataApi {
    pub(super) sources: Arc<[ServedSource]>,
    /// The contracts, each with the position of its source.
    contracts: Arc<BTreeMap<String, (usize, ServedContract)>>,
    pub(super) ids: Arc<RequestIds>,
    pub(super) gate: Gate,
}

/// A source of contracts.
pub struct ServedSource {
    /// The engine that follows its log.
    pub engine: Engine,
    /// Called for every answer.
    pub sampler: Option<Arc<dyn Sampler>>,
}

/// A contract with its source.
#[derive(Clone, Copy)]
pub(super) struct Served<'a> {
    /// The position of the source.
    pub(super) at: usize,
    pub(super) source: &'a ServedSource,
    served: &'a ServedContract,
}

impl Deref for Served<'_> {
    type Target = ServedContract;

    fn deref(&self) -> &ServedContract {
        self.served
    }
}

impl Served<'_> {
    /// Hands an answer to the sampler.
    pub(super) fn answered(self, key: &Key, id: &str, answer: &Answer) {
        if let Some(sampler) = &self.source.sampler {
            sampler.answered(key, id, &self.policy, answer);
        }
    }
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
    /// Creates a data API that serves each contract of each source under its name to the callers that `gate` knows.
    #[must_use]
    pub fn new(sources: Vec<(ServedSource, Vec<ServedContract>)>, gate: Gate) -> Self {
        let (mut all, mut contracts) = (Vec::new(), BTreeMap::new());
        for (at, (source, served)) in sources.into_iter().enumerate() {
            all.push(source);
            let named = served.into_iter().map(|served| (served.contract.name.clone(), served));
            contracts.extend(named.map(|(name, served)| (name, (at, served))));
        }
        let ids = Arc::new(RequestIds::new());
        Self { sources: all.into(), contracts: Arc::new(contracts), ids, gate }
    }

    /// Returns a reference that is dead once no clone of this data API is left and its last request has been answered.
    #[must_use]
    pub fn usage(&self) -> Weak<dyn Any + Send + Sync> {
        let contracts: Arc<dyn Any + Send + Sync> = Arc::clone(&self.contracts) as _;
        Arc::downgrade(&contracts)
    }

    /// Returns the engine of a contract's source; `None`: there is no such contract.
    #[must_use]
    pub fn engine_of(&self, contract: &str) -> Option<&Engine> {
        let (at, _) = self.contracts.get(contract)?;
        self.sources.get(*at).map(|source| &source.engine)
    }

    /// Returns the token that a read of the source at this position has to satisfy.
    pub(super) fn token_of(&self, at: usize, tokens: Option<&CausalTokens>) -> Option<CausalToken> {
        let epoch = |source: &ServedSource| source.engine.status().epoch;
        let epochs: Vec<_> = match tokens {
            Some(_) => self.sources.iter().map(epoch).collect(),
            None => return None,
        };
        let others = epochs.iter().enumerate().filter(|(other, _)| *other != at);
        tokens?.of(epochs[at], others.filter_map(|(_, epoch)| *epoch))
    }

    /// The contract of that name, for a caller that may read it.
    ///
    /// # Errors
    /// [`DataError`]: the caller may not read it, or there is none; the text names the contracts that the
    /// caller may read.
    pub(super) fn served(&self, name: &str, caller: &Caller) -> Result<Served<'_>, DataError> {
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
    ) -> Result<Served<'_>, DataError> {
        let found = self.contracts.get(name);
        let found =
            found.map(|(at, served)| Served { at: *at, source: &self.sources[*at], served });
        found.ok_or_else(|| {
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
