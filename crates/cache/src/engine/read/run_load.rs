//! The work of one flight: lookups in both tiers, then the load.

use coherence::Mono;
use contract::Unproven;
use tokio::sync::SetOnce;

use super::lookup_local::LocalLookup;
use super::lookup_shared::SharedLookup;
use crate::engine::answer::Stale;
use crate::engine::error::ReadError;
use crate::engine::load::{LoadContext, LoadOutcome, LoadRequest, Loader};
use crate::engine::tiers::TierStack;
use crate::local::LocalEntry;

/// A local entry that has not been invalidated but is not proven to be within the budget.
pub(crate) struct UnprovenEntry {
    entry: LocalEntry,
    as_of: Option<Mono>,
}

impl Loader {
    /// Runs a flight. `early`: as in [`load`](Self::load).
    pub(crate) async fn run_load(
        &self,
        request: &LoadRequest,
        early: Option<&SetOnce<LoadOutcome>>,
    ) -> Result<LoadOutcome, ReadError> {
        let tiers = &self.tiers;
        let unproven = match tiers.recheck_local(request) {
            Ok(outcome) => return Ok(outcome),
            Err(unproven) => unproven,
        };
        let context = match tiers.lookup_shared(request).await? {
            SharedLookup::Found(outcome) => return Ok(outcome),
            SharedLookup::Load(context) => context,
        };
        match tiers.apply_unproven_policy(request, unproven, context).await {
            Some(outcome) => outcome,
            None => self.load(request, context, early).await,
        }
    }
}

impl TierStack {
    /// Looks the key up again: another flight may have ended between the reader's lookup and the start of
    /// this one. Returns the unproven entry on a miss, if there is one.
    pub(crate) fn recheck_local(
        &self,
        request: &LoadRequest,
    ) -> Result<LoadOutcome, Option<UnprovenEntry>> {
        if request.refresh {
            return Err(None);
        }
        match self.lookup_local(&request.key, &request.policy, request.token()) {
            LocalLookup::Fresh { entry, as_of, .. } | LocalLookup::Absent { entry, as_of } => {
                Ok(LoadOutcome::local(entry, as_of, None))
            }
            LocalLookup::Soft { entry, as_of, .. } => {
                Ok(LoadOutcome::local(entry, Some(as_of), None))
            }
            LocalLookup::Unproven { entry, as_of } => Err(Some(UnprovenEntry { entry, as_of })),
            LocalLookup::Expired { .. } | LocalLookup::Uncacheable | LocalLookup::Miss => Err(None),
        }
    }

    /// Applies the contract's rule for unproven answers. Returns `None` if the rule is to load.
    pub(crate) async fn apply_unproven_policy(
        &self,
        request: &LoadRequest,
        unproven: Option<UnprovenEntry>,
        context: LoadContext,
    ) -> Option<Result<LoadOutcome, ReadError>> {
        let UnprovenEntry { entry, as_of } = unproven?;
        let outcome = match request.rules().unproven {
            Unproven::ServeStale => Ok(LoadOutcome::local(entry, as_of, Some(Stale::Unproven))),
            Unproven::Fail => Err(self.unproven_error(request.rules(), as_of)),
            Unproven::ReadOrigin => return None,
        };
        self.release_lease(request, context).await;
        Some(outcome)
    }
}
