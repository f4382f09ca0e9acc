//! One key of a batch.

use std::sync::Arc;

use contract::Key;

use crate::engine::load::LoadRequest;
use crate::engine::policy::Policy;
use crate::engine::tiers::TokenDeadline;
use crate::origin::Origin;

/// One key of a batch, with everything that reading it takes.
#[derive(Clone)]
pub struct Item {
    /// The key.
    pub key: Key,
    /// The id that the caller named; passed to `origin`.
    pub id: Arc<str>,
    /// The policy that it is read by.
    pub policy: Arc<Policy>,
    /// The origin of the value.
    pub origin: Arc<dyn Origin>,
}

impl Item {
    pub(super) fn request(&self, refresh: bool, deadline: Option<TokenDeadline>) -> LoadRequest {
        LoadRequest {
            key: self.key.clone(),
            id: Arc::clone(&self.id),
            policy: Arc::clone(&self.policy),
            origin: Arc::clone(&self.origin),
            refresh,
            deadline: deadline.filter(|_| !refresh),
            joined: None,
        }
    }
}
