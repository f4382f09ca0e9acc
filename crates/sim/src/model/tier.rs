//! The shared tier, composed as `cache::MemoryTier` composes it.

use std::collections::BTreeMap;
use std::time::Duration;

use coherence::fence::Gap;
use coherence::lease::Grant;
use coherence::{
    Batch, CoverageDigest, Epoch, Fence, LeaseToken, Leases, Lsn, Mono, Offer, Refusal, Subject,
    Verdict,
};

use crate::model::composition::{CompositionRule, Omitted};
use crate::model::database::CommitSet;
use crate::model::keys::{KeyId, key, tags};

/// The duration of a lease on the tier's clock.
pub const LEASE: Duration = Duration::from_nanos(1);

/// An entry with its true content.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct SharedEntry {
    /// τ.
    pub tau: Lsn,
    /// The key's commits that the load saw. No rule reads this field.
    pub seen: CommitSet,
}

/// The shared tier.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Tier {
    /// Its tombstones and position.
    pub fence: Fence,
    /// Its entries.
    pub entries: BTreeMap<KeyId, SharedEntry>,
    /// The leases of its keys.
    pub leases: Leases,
    grants: u64,
}

/// The position of the tier, read in the same step as an entry.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Standing {
    /// Its epoch.
    pub epoch: Epoch,
    /// A.
    pub applied: Lsn,
    /// W.
    pub watermark: Lsn,
}

/// A fill.
#[derive(Clone, Copy, Debug)]
pub struct Fill {
    /// Its key.
    pub key: KeyId,
    /// Its τ.
    pub tau: Lsn,
    /// The commits that the load saw.
    pub seen: CommitSet,
    /// The epoch that came with τ.
    pub epoch: Epoch,
    /// The lease under which it was loaded.
    pub lease: Option<LeaseToken>,
}

impl Tier {
    /// Returns the tier that replaces this one after a flush or a restart from older data.
    #[must_use]
    pub fn replaced_by(&self, mut other: Self, omitted: Omitted) -> Self {
        if omitted.enforces(CompositionRule::LeaseTokensUnique) {
            other.grants = self.grants;
        }
        other
    }

    /// Returns its position, if it has an epoch.
    #[must_use]
    pub fn standing(&self) -> Option<Standing> {
        let (applied, watermark) = (self.fence.applied(), self.fence.watermark());
        self.fence.epoch().map(|epoch| Standing { epoch, applied, watermark })
    }

    /// Returns the entry, if it stands.
    #[must_use]
    pub fn find(&self, id: KeyId) -> Option<&SharedEntry> {
        self.fence.epoch()?;
        self.entries.get(&id).filter(|stored| self.fence.stands(key(id), tags(id), stored.tau))
    }

    /// Acquires the key's lease; `None` if it has another holder.
    pub fn lease(&mut self, id: KeyId, now: Mono) -> Option<LeaseToken> {
        self.grants += 1;
        match self.leases.acquire(key(id), LeaseToken(self.grants), now, LEASE) {
            Grant::Granted(token) => Some(token),
            Grant::Held { .. } => {
                self.grants -= 1;
                None
            }
        }
    }

    /// Stores by the fill rule, and releases the lease.
    pub fn fill(&mut self, fill: Fill, now: Mono) -> Verdict {
        let stored = self.find(fill.key).map(|stored| stored.tau);
        let Fill { tau, epoch, seen, .. } = fill;
        let offer = Offer { key: key(fill.key), tags: tags(fill.key), tau, epoch, stored };
        let mut verdict = self.fence.admit(offer);
        if let Some(lease) = fill.lease {
            if verdict == Verdict::Accept && self.leases.is_reassigned(key(fill.key), lease, now) {
                verdict = Verdict::Refuse(Refusal::Lease);
            }
            self.leases.release(key(fill.key), lease);
        }
        if verdict == Verdict::Accept {
            self.entries.insert(fill.key, SharedEntry { tau, seen });
        }
        verdict
    }

    /// Applies a batch.
    ///
    /// # Errors
    /// As [`Fence::apply`].
    pub fn apply(&mut self, batch: &Batch) -> Result<(), Gap> {
        self.fence.apply(batch)?;
        for event in &batch.events {
            let named = |id: &KeyId| event.subjects.contains(&Subject::Key(key(*id).clone()));
            self.entries.retain(|id, stored| !named(id) || stored.tau >= event.lsn);
        }
        Ok(())
    }

    /// Resets the epoch, and returns the message for the node stream.
    pub fn reset_epoch(
        &mut self,
        epoch: Epoch,
        at: Lsn,
        watermark: Lsn,
        omitted: Omitted,
    ) -> Batch {
        self.fence.reset_epoch(epoch, at, watermark);
        self.leases.clear();
        if omitted.enforces(CompositionRule::EpochResetDropsEntries) {
            self.entries.clear();
        }
        Batch {
            epoch,
            prev: at,
            upto: at,
            watermark,
            coverage: CoverageDigest::NONE,
            events: Vec::new(),
        }
    }
}
