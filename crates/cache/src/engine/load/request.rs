//! The request for a load.

use std::sync::Arc;

use coherence::{CausalToken, Epoch, LeaseToken, Lsn};
use contract::Key;
use tokio::sync::SetOnce;

use crate::engine::observer::LoadTarget;
use crate::engine::policy::Policy;
use crate::engine::rules::Rules;
use crate::engine::tiers::TokenDeadline;
use crate::origin::Origin;

/// The request for a load.
#[derive(Clone)]
pub(crate) struct LoadRequest {
    pub(crate) key: Key,
    pub(crate) id: Arc<str>,
    pub(crate) policy: Arc<Policy>,
    pub(crate) origin: Arc<dyn Origin>,
    /// An early refresh: the tiers have a usable entry, which should be replaced.
    pub(crate) refresh: bool,
    /// The causal token of the reader.
    pub(crate) deadline: Option<TokenDeadline>,
    /// Set once a reader of another party waits for the load; `None`: the load is of its reader only.
    pub(crate) joined: Option<Arc<SetOnce<()>>>,
}

impl LoadRequest {
    pub(crate) fn rules(&self) -> &Rules {
        &self.policy.rules
    }

    pub(crate) fn token(&self) -> Option<CausalToken> {
        self.deadline.map(|deadline| deadline.token)
    }

    pub(crate) fn target(&self) -> LoadTarget {
        let (key, id) = (self.key.clone(), Arc::clone(&self.id));
        LoadTarget { key, id, contract: Arc::clone(&self.policy.rules.name) }
    }
}

/// The state of the tiers in which a load starts.
#[derive(Clone, Copy)]
pub(crate) struct LoadContext {
    /// W and its epoch, for the fill; known before the load begins.
    pub(crate) position: Option<(Epoch, Lsn)>,
    pub(crate) lease: Option<LeaseToken>,
    /// Whether the shared tier can take the fill.
    pub(crate) shared: bool,
}
