//! What a load's answer is worth: since when it is proven, and which token it has.
//!
//! A database that was asked shows at least what was so when the load began. A service may be behind
//! that, by what its contract and its answer say ([`coherence::trail`]); and where no log tells of
//! changes, its age is all that is known of an answer.

use std::time::Duration;

use coherence::{Epoch, Lsn, Mono, Reached};
use contract::{Evidence, Unproven};

use super::answer::{ReadError, Stale, Tier};
use super::ask::Start;
use super::load::{Job, Landed, within};
use super::{Inner, Policy};
use crate::entry::Entry;
use crate::origin::Loaded;

/// The judgement.
pub(super) struct Worth {
    /// The answer shows what was so then, or later. The life of its entry counts from here.
    pub(super) from: Mono,
    /// Whether `from` proves it.
    pub(super) own: bool,
    /// Every commit acknowledged before this is in it.
    pub(super) as_of: Option<Mono>,
    /// The history it belongs to, and its τ.
    pub(super) token: Option<(Epoch, Lsn)>,
}

impl Inner {
    pub(super) fn worth(
        &self,
        policy: &Policy,
        loaded: &Loaded,
        began: Mono,
        start: Start,
    ) -> Worth {
        let from = began.before(policy.lag.saturating_add(loaded.behind));
        let or_began = from.unwrap_or(began);
        let token = self.token_of(policy, loaded, began, start);
        match loaded.replayed.filter(|_| !policy.is_aged()) {
            None => Worth { from: or_began, own: from.is_some(), as_of: from, token },
            // W says nothing about what a standby shows, and that its load has begun proves nothing.
            Some(replayed) => {
                let (epoch, watermark) = start.token.unzip();
                let tau = replayed.token(watermark.unwrap_or_default());
                let as_of = epoch.and_then(|epoch| self.local.proven_by(replayed, epoch));
                Worth { from: or_began, own: false, as_of, token: epoch.map(|epoch| (epoch, tau)) }
            }
        }
    }

    fn token_of(
        &self,
        policy: &Policy,
        loaded: &Loaded,
        began: Mono,
        start: Start,
    ) -> Option<(Epoch, Lsn)> {
        // An old answer of a service without a log has said how old it is; the token only keeps what
        // is loaded from outliving a purge in between.
        let told = if policy.is_aged() { Duration::ZERO } else { loaded.behind };
        let behind = policy.lag.saturating_add(told);
        if behind.is_zero() || start.token.is_none() {
            return start.token;
        }
        self.local.token_at(began.before(behind)?)
    }

    /// The wall time to note in an entry: of the end of its load, or for what may have been behind, and
    /// for what only its age proves, of when it was so.
    pub(super) fn loaded_wall_ms(&self, policy: &Policy, from: Mono, now: Mono) -> u64 {
        let wall_ms = self.clock.wall_ms();
        if policy.evidence == Evidence::Log {
            return wall_ms;
        }
        let ago = now.since(from).as_nanos().div_ceil(1_000_000);
        wall_ms.saturating_sub(u64::try_from(ago).unwrap_or(u64::MAX))
    }

    /// The time as of which an entry of the shared tier is proven by its age alone. Wall clocks of two
    /// machines differ, and the tier's own count of what is left begins with the fill: the older counts.
    pub(super) fn aged(&self, policy: &Policy, entry: &Entry, left: Duration) -> Option<Mono> {
        // The clock shows whole milliseconds, cut off.
        let by_wall = (self.clock.wall_ms() + 1).saturating_sub(entry.loaded_wall_ms);
        let stored = entry.ttl.saturating_sub(left);
        let by_tier = stored.saturating_add(entry.cost).saturating_add(policy.lag);
        self.clock.mono().before(by_tier.max(Duration::from_millis(by_wall)))
    }

    /// Offers what was loaded to the tiers. What a service answered may be older than its contract
    /// allows though it was just loaded: then its contract's rule decides.
    pub(super) async fn take(
        &self,
        job: &Job,
        loaded: Loaded,
        began: Mono,
        start: Start,
    ) -> Result<Landed, ReadError> {
        let landed = self.store(job, loaded, began, start).await;
        let policy = &job.policy;
        if policy.evidence == Evidence::Log || within(policy, landed.as_of, began) {
            return Ok(landed);
        }
        match policy.unproven {
            Unproven::Fail => Err(self.unproven(policy, landed.as_of)),
            Unproven::ReadOrigin | Unproven::ServeStale => {
                Ok(Landed { stale: Some(Stale::Unproven), ..landed })
            }
        }
    }

    /// For readers who have written: lets so much time pass after their questions as the origin may
    /// lag, so that it shows what they wrote.
    pub(super) async fn outlag(&self, jobs: impl Iterator<Item = &Job>) {
        let needed = jobs.filter_map(|job| Some(job.wish?.asked + job.policy.lag)).max();
        let left = needed.map(|needed| needed.since(self.clock.mono()));
        if let Some(left) = left.filter(|left| !left.is_zero()) {
            tokio::time::sleep(left).await;
        }
    }
}

impl Landed {
    /// Whether what was loaded for a reader may miss what the reader has written.
    pub(super) fn undercuts(&self, job: &Job) -> bool {
        let Some(wish) = job.wish else { return false };
        let behind = self.tier == Tier::Origin && self.entry.loaded < wish.asked;
        let reached = || wish.after.reached(self.epoch, self.entry.tau) == Reached::Yes;
        behind && (job.policy.is_aged() || !reached())
    }
}
