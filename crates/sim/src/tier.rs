//! The shared tier, composed as `cache::MemoryTier` composes it.

use std::collections::BTreeMap;
use std::time::Duration;

use coherence::fence::Gap;
use coherence::lease::Grant;
use coherence::{
    Batch, Epoch, Fence, LeaseToken, Leases, Lsn, Mono, Offer, Refusal, Subject, Verdict,
};

use crate::database::Seen;
use crate::habit::{Habit, Without};
use crate::names::{KeyId, key, tags};

/// How long a lease lasts on the tier's clock.
pub const LEASE: Duration = Duration::from_nanos(1);

/// An entry, and what is really in it.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Stored {
    /// τ.
    pub tau: Lsn,
    /// Of the key's commits, those that the load saw. No rule looks at this.
    pub seen: Seen,
}

/// The shared tier.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Tier {
    /// Its marks and position.
    pub fence: Fence,
    /// What it holds.
    pub entries: BTreeMap<KeyId, Stored>,
    /// Who loads what.
    pub leases: Leases,
    grants: u64,
}

/// Where it stands; read in the same step as an entry.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Standing {
    /// Its history.
    pub epoch: Epoch,
    /// A.
    pub applied: Lsn,
    /// W.
    pub watermark: Lsn,
}

/// A fill.
#[derive(Clone, Copy, Debug)]
pub struct Fill {
    /// Under which key.
    pub key: KeyId,
    /// τ.
    pub tau: Lsn,
    /// What was seen.
    pub seen: Seen,
    /// The history that came with τ.
    pub epoch: Epoch,
    /// Under which lease.
    pub lease: Option<LeaseToken>,
}

impl Tier {
    /// What takes the place of this tier after a flush or a restart from older data.
    #[must_use]
    pub fn replaced_by(&self, mut other: Self, without: Without) -> Self {
        if without.has(Habit::LeaseTokensDiffer) {
            other.grants = self.grants;
        }
        other
    }

    /// Where it stands, if it has a history.
    #[must_use]
    pub fn standing(&self) -> Option<Standing> {
        let (applied, watermark) = (self.fence.applied(), self.fence.watermark());
        self.fence.epoch().map(|epoch| Standing { epoch, applied, watermark })
    }

    /// The entry, if it counts.
    #[must_use]
    pub fn find(&self, id: KeyId) -> Option<&Stored> {
        self.fence.epoch()?;
        self.entries.get(&id).filter(|stored| self.fence.stands(key(id), tags(id), stored.tau))
    }

    /// Asks for the key's lease; `None`: somebody else has it.
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

    /// Stores by the fill rule and gives the lease back.
    pub fn fill(&mut self, fill: Fill, now: Mono) -> Verdict {
        let stored = self.find(fill.key).map(|stored| stored.tau);
        let Fill { tau, epoch, seen, .. } = fill;
        let offer = Offer { key: key(fill.key), tags: tags(fill.key), tau, epoch, stored };
        let mut verdict = self.fence.admit(offer);
        if let Some(lease) = fill.lease {
            if verdict == Verdict::Accept && self.leases.given_on(key(fill.key), lease, now) {
                verdict = Verdict::Refuse(Refusal::Lease);
            }
            self.leases.release(key(fill.key), lease);
        }
        if verdict == Verdict::Accept {
            self.entries.insert(fill.key, Stored { tau, seen });
        }
        verdict
    }

    /// Applies a piece of the log.
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

    /// Begins a new history; answers what the node stream gets.
    pub fn incarnate(&mut self, epoch: Epoch, at: Lsn, watermark: Lsn, without: Without) -> Batch {
        self.fence.incarnate(epoch, at, watermark);
        self.leases.clear();
        if without.has(Habit::BeginningDropsEntries) {
            self.entries.clear();
        }
        Batch { epoch, prev: at, upto: at, watermark, events: Vec::new() }
    }
}
