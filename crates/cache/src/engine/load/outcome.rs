//! The outcome of a load or a lookup.

use coherence::{Epoch, Mono, Reached, Verdict};

use super::request::LoadRequest;
use crate::engine::answer::{Stale, Tier};
use crate::engine::tiers::TokenDeadline;
use crate::local::LocalEntry;
use crate::partial::PartialBody;

/// The outcome of a flight: an entry, and what is known about it.
#[derive(Clone, Debug)]
pub(crate) struct LoadOutcome {
    pub(crate) entry: LocalEntry,
    pub(crate) tier: Tier,
    /// Every commit acknowledged before this time is in the entry.
    pub(crate) as_of: Option<Mono>,
    pub(crate) stale: Option<Stale>,
    pub(crate) stored: Option<Verdict>,
    /// The epoch that the entry's τ belongs to; `None`: not known.
    pub(crate) epoch: Option<Epoch>,
    /// The body of the entry's value, which is still to come; `None`: the entry is complete.
    pub(crate) body: Option<PartialBody>,
}

impl LoadOutcome {
    /// The outcome of a lookup in the in-process tier.
    pub(crate) fn local(entry: LocalEntry, as_of: Option<Mono>, stale: Option<Stale>) -> Self {
        Self { entry, tier: Tier::Local, as_of, stale, stored: None, epoch: None, body: None }
    }

    pub(crate) fn is_uncacheable(&self) -> bool {
        self.entry.is_uncacheable()
    }

    /// Whether the load of another reader satisfies the token of a read that began at `asked`: it began
    /// after the read, or its snapshot has reached the token.
    pub(crate) fn satisfies(&self, deadline: Option<TokenDeadline>, asked: Mono) -> bool {
        let Some(TokenDeadline { token, .. }) = deadline else { return true };
        // Not at the same time: its snapshot may have been taken just before the write.
        (self.tier == Tier::Origin && self.entry.loaded_here && self.entry.loaded > asked)
            || token.reached(self.epoch, self.entry.tau) == Reached::Yes
    }

    /// Whether the entry that was loaded for a reader may lack the write of the reader's token.
    pub(crate) fn violates_token(&self, request: &LoadRequest) -> bool {
        let Some(deadline) = request.deadline else { return false };
        let behind = self.tier == Tier::Origin && self.entry.loaded < deadline.asked;
        let reached = || deadline.token.reached(self.epoch, self.entry.tau) == Reached::Yes;
        behind && (request.rules().is_age_bound() || !reached())
    }
}
