//! The leader's claim of the shared tier, and the mappings that it states there.

use std::sync::Arc;

use coherence::resume::Start;
use coherence::{Claim, Coverage, CoverageDigest, Log, Lsn};

use super::{Consumer, Following, Leader};
use crate::shared::{LeadRequest, Led, TierError};

impl Leader {
    /// Claims the tier, and states those of the mappings stated before that this leader applies too.
    pub(super) async fn claim(
        &mut self,
        start: &Start,
        consumer: &Consumer,
    ) -> Result<Coverage, TierError> {
        let before = self.shared.leadership().await?;
        let kept = before.coverage.kept_by(self.engine.coverage());
        if kept != *self.engine.coverage() {
            self.takeovers += 1;
        }
        self.lead(start, consumer, before.stated, kept, None).await
    }

    /// Renews the claim, and states `after` in place of `before`.
    pub(super) async fn state(
        &self,
        start: &Start,
        consumer: &Consumer,
        before: &Coverage,
        after: &Coverage,
    ) -> Result<Coverage, TierError> {
        self.lead(start, consumer, before.digest(), after.clone(), None).await
    }

    async fn lead(
        &self,
        start: &Start,
        consumer: &Consumer,
        from: CoverageDigest,
        coverage: Coverage,
        upto: Option<Lsn>,
    ) -> Result<Coverage, TierError> {
        let Start { system, timeline, server, .. } = *start;
        let Consumer { slot, ref label, ref history } = *consumer;
        let log = Log { system, timeline, server };
        let claim = Claim { node: self.node, log, slot, label: Arc::clone(label) };
        let request = LeadRequest { claim, history: Arc::clone(history), from, coverage, upto };
        match self.shared.lead(&request).await? {
            Led::Granted => Ok(request.coverage),
            Led::Refused(conflict, label) => Err(TierError::Claimed { conflict, label }),
            Led::Changed => Err(TierError::Unavailable("it has got another leader".into())),
        }
    }

    /// Returns the mappings of this node that the tier does not state, with the number of the takeover that they
    /// are missing since: an invalidation of every entry that depends on them has to pass through the log first.
    #[must_use]
    pub fn unstated(&self) -> Option<(u64, Vec<u64>)> {
        let stated = &self.following.as_ref()?.stated;
        let missing: Vec<u64> = self.engine.coverage().beyond(stated).collect();
        (!missing.is_empty()).then_some((self.takeovers, missing))
    }

    /// States all mappings of this node, if the log was applied up to `invalidated`, the position of that
    /// invalidation. Returns whether it has.
    ///
    /// # Errors
    /// The shared tier failed, or another leader's claim stands.
    pub async fn state_all(&mut self, invalidated: Lsn) -> Result<bool, TierError> {
        let Some(following) = self.following.clone() else { return Ok(false) };
        if following.applied < invalidated {
            return Ok(false);
        }
        let Following { start, consumer, stated, applied, .. } = &following;
        let (from, own) = (stated.digest(), self.engine.coverage().clone());
        let stated = self.lead(start, consumer, from, own, Some(*applied)).await?;
        self.following = Some(Following { stated, ..following });
        Ok(true)
    }

    /// Claims the tier after another leader has stated its mappings there. Returns the digest of those that are
    /// stated now.
    pub(super) async fn claim_again(&mut self) -> Result<CoverageDigest, TierError> {
        let Some(Following { start, consumer, .. }) = self.following.clone() else {
            return Ok(CoverageDigest::NONE);
        };
        let stated = self.claim(&start, &consumer).await?;
        let digest = stated.digest();
        if let Some(following) = &mut self.following {
            following.stated = stated;
        }
        Ok(digest)
    }
}
