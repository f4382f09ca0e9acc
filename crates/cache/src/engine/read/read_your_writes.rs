//! Reads with a causal token: never older than the token's write.
//!
//! A tier answers if it has applied the log up to the token. If it has not, the read waits for it until the
//! token's deadline; then the origin is read, which is the database that was written to.

use std::sync::Arc;

use coherence::CausalToken;
use contract::Key;

use crate::engine::answer::Answer;
use crate::engine::error::ReadError;
use crate::engine::handle::Engine;
use crate::engine::policy::Policy;
use crate::engine::tiers::{TierStack, TokenDeadline};
use crate::origin::Origin;

impl Engine {
    /// As [`peek`](Self::peek), if the in-process tier has applied the log up to the token.
    #[must_use]
    pub fn peek_after(&self, key: &Key, policy: &Policy, after: CausalToken) -> Option<Answer> {
        let found = self.tiers().local.get_with_token(key, after)?;
        let (entry, proven) = policy.rules.prove_local(key, found)?;
        self.plain_hit(policy, entry, proven, |now| policy.rules.is_within_budget(proven, now))
    }

    /// As [`get`](Self::get), and every commit up to the token is in the answer, whichever tier or load it
    /// comes from; also in one that is served stale by its contract. The read waits for a tier that has not
    /// reached the token for at most [`after_timeout`](super::super::EngineOptions::after_timeout); then, or
    /// where the token is of another log, the origin is read.
    ///
    /// The token's write must have been committed before the call.
    ///
    /// # Errors
    /// [`ReadError`], by the policy's rules; also where the load fails and only older entries are available.
    pub async fn get_after(
        &self,
        key: &Key,
        id: &str,
        policy: &Arc<Policy>,
        origin: &Arc<dyn Origin>,
        after: Option<CausalToken>,
    ) -> Result<Answer, ReadError> {
        let tiers = self.tiers();
        let deadline = tiers.token_deadline(after);
        if let Some(deadline) = deadline
            && tiers.lags_behind(key, policy, deadline)
        {
            tiers.wait_for_token(deadline).await;
        }
        self.read(key, id, policy, origin, deadline).await
    }
}

impl TierStack {
    /// Whether the in-process tier has an answer that the token is too new for.
    pub(crate) fn lags_behind(&self, key: &Key, policy: &Policy, deadline: TokenDeadline) -> bool {
        match self.local.get(key) {
            // Waiting does not help: the entry is loaded again.
            Some(_) if policy.rules.is_age_bound() => false,
            Some(_) => self.local.get_with_token(key, deadline.token).is_none(),
            None => {
                let is_absent = |token| self.proven_absent(key, policy, token).is_some();
                is_absent(None) && !is_absent(Some(deadline.token))
            }
        }
    }
}
