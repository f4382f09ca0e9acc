//! The trait of shared tiers, and the types of its calls.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use coherence::fence::Gap;
use coherence::{
    AppliedSchema, Batch, Claim, Conflict, Coverage, CoverageDigest, Epoch, History, LeaseToken,
    Lsn, Mono, SlidingTtl, Subject, Verdict,
};
use contract::Key;
use futures_util::future::join_all;
use tokio::sync::mpsc;

use super::error::TierError;
use crate::entry::Entry;
use crate::survey::Survey;

/// The position of a shared tier. It is read together with every answer, from the same shard.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TierPosition {
    /// The tier's epoch.
    pub epoch: Epoch,
    /// A: the applied position. It is stored inside the shard itself, so that a shard that was rolled back
    /// shows an older one.
    pub applied: Lsn,
    /// W: the τ of a load that begins after this was read.
    pub watermark: Lsn,
    /// The mappings that the leader applies.
    pub coverage: CoverageDigest,
}

/// A claim of a tier's leadership, with the mappings that the leader states.
#[derive(Clone, Debug)]
pub struct LeadRequest {
    /// The claim.
    pub claim: Claim,
    /// The timelines before that of the claim's log.
    pub history: History,
    /// The mappings that are stated now, as far as the leader knows.
    pub from: CoverageDigest,
    /// The mappings to state: batches of leaders with others are refused from now on.
    pub coverage: Coverage,
    /// The position up to which this leader has applied new mappings ([`coherence::coverage::has_caught_up`]).
    pub upto: Option<Lsn>,
}

/// The result of [`SharedTier::lead`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Led {
    /// The claim is live, and the mappings are stated.
    Granted,
    /// Other mappings are stated than the request says, or another leader has applied more of the log; nothing
    /// was done.
    Changed,
    /// The live claim of another leader, with this label, stands.
    Refused(Conflict, Arc<str>),
}

/// The leadership of a tier.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Leadership {
    /// The live claim.
    pub claim: Option<Claim>,
    /// The digest of the stated mappings.
    pub stated: CoverageDigest,
    /// The stated mappings; empty where they do not have that digest.
    pub coverage: Coverage,
}

/// The result of one lookup.
#[derive(Clone, Debug)]
pub struct SharedRead {
    /// `None`: the tier has no epoch, because it is new or was flushed. Then nothing in it is proven, and it
    /// accepts no fill.
    pub position: Option<TierPosition>,
    /// The result for the key.
    pub outcome: Outcome,
}

/// The result of a lookup for its key.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// A valid entry. Its τ may be raised to `position.applied`: a valid entry misses no commit that its tier
    /// has applied.
    Found {
        /// The entry.
        entry: Entry,
        /// The rest of its TTL.
        remaining: Duration,
    },
    /// No entry. The caller has the lease and has to load: no other node will, until the lease expires.
    Lead(LeaseToken),
    /// No entry, and another node is loading it. Look it up again after about this time.
    Wait(Duration),
    /// No entry. No lease was asked for.
    Miss,
}

/// A loaded value that is offered to the tier.
#[derive(Clone, Debug)]
pub struct Fill {
    /// The key.
    pub key: Key,
    /// The entry; `entry.tau` is the W that was known before the load began.
    pub entry: Entry,
    /// The epoch that was read together with that W.
    pub epoch: Epoch,
    /// The lease of the load. The fill releases it, accepted or not. A fill is refused while another node has
    /// the lease; an expired lease alone is no reason to refuse. `None`: a refresh without lease.
    pub lease: Option<LeaseToken>,
}

/// A message of the node stream. The in-process tier of every node applies the messages in order.
#[derive(Clone, Debug)]
pub enum NodeMessage {
    /// A batch of the log. Positions chain, so a lost message is noticed as a gap.
    Batch(Batch),
    /// Remove these entries now. Carries no position and proves nothing: the batch that follows raises the
    /// tombstones.
    Evict(Vec<Subject>),
    /// The subscription broke or fell behind, and messages may be missing. The in-process tier drops
    /// everything, and continues at the tier's present position once it is known.
    Lost,
}

/// A use of an entry that prolongs its sliding TTL.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Touch {
    /// The limit of an entry's life after its load. [`Duration::MAX`]: unlimited while it is used.
    pub max_lifetime: Duration,
    /// A tier that has not applied the log up to this position prolongs nothing: its answers are not proven
    /// to be within the contract.
    pub proven_from: Lsn,
}

impl Touch {
    /// A touch that requires no proof (yet).
    #[must_use]
    pub const fn within(max_lifetime: Duration) -> Self {
        Self { max_lifetime, proven_from: Lsn::ZERO }
    }

    /// Returns the sliding TTL of `length` for an entry that was loaded `age` ago.
    pub(crate) fn sliding_ttl(self, length: Duration, age: Duration, now: Mono) -> SlidingTtl {
        SlidingTtl { length, cap: now + self.max_lifetime.saturating_sub(age) }
    }
}

/// The announcement of a node, which the other nodes on the tier read. It is no part of the protocol: nothing is proven
/// by it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NodeRecord {
    /// The node's own name, without spaces.
    pub id: String,
    /// Its announcement.
    pub text: String,
}

/// The tier that all nodes share. Embedded: the memory of one process. Otherwise: Redis or Valkey.
///
/// Every method is one atomic step in the tier (one round trip) unless its documentation says otherwise, and
/// every method is idempotent.
#[async_trait]
pub trait SharedTier: Send + Sync + 'static {
    /// Looks up a key. On a miss, asks for a lease of the length `lease`, if there is one. A tier without an
    /// epoch grants no lease, since it would refuse the fill.
    async fn read(&self, key: &Key, lease: Option<Duration>) -> Result<SharedRead, TierError>;

    /// As [`read`](Self::read) for each of the keys, in order: in one round trip and one state of the
    /// tier, if the tier can do that. Each result has the position of its state.
    async fn read_many(
        &self,
        keys: &[Key],
        lease: Option<Duration>,
    ) -> Result<Vec<SharedRead>, TierError> {
        let reads = join_all(keys.iter().map(|key| self.read(key, lease))).await;
        reads.into_iter().collect()
    }

    /// As [`read_many`](Self::read_many), and touches in the same step each entry that is found and has a
    /// [`Touch`] at its index in `touches`. Absent values are not touched: they have a TTL of their own.
    /// A tier without sliding TTLs ignores the touches.
    async fn read_and_touch(
        &self,
        keys: &[Key],
        touches: &[Option<Touch>],
        lease: Option<Duration>,
    ) -> Result<Vec<SharedRead>, TierError> {
        let _ = touches;
        self.read_many(keys, lease).await
    }

    /// Touches entries that were used elsewhere: as [`read_and_touch`](Self::read_and_touch) without results.
    async fn touch(&self, uses: &[(Key, Touch)]) -> Result<(), TierError> {
        let _ = uses;
        Ok(())
    }

    /// Looks up a key without a lease and, if the tier can do that, without counting a use.
    async fn inspect(&self, key: &Key) -> Result<SharedRead, TierError> {
        self.read(key, None).await
    }

    /// Stores an entry by the fill rule, and releases the lease.
    async fn fill(&self, fill: &Fill) -> Result<Verdict, TierError>;

    /// Renews a lease. Returns `false` if the lease has expired; another node may have it.
    async fn renew(&self, key: &Key, lease: LeaseToken, ttl: Duration) -> Result<bool, TierError>;

    /// Releases a lease without a value.
    async fn release(&self, key: &Key, lease: LeaseToken) -> Result<(), TierError>;

    /// Applies a batch of the log and publishes it on the node stream, in one step. An empty batch is a
    /// heartbeat. A gap leaves the tier unchanged.
    async fn apply(&self, batch: &Batch) -> Result<Result<(), Gap>, TierError>;

    /// Removes entries now and has the nodes do the same. Raises no tombstone (see [`NodeMessage::Evict`]).
    /// A wildcard takes many steps, since every entry has to be checked.
    async fn evict(&self, subjects: &[Subject]) -> Result<(), TierError>;

    /// Counts the valid entries that the subjects concern, in many small steps, and removes nothing. Entries
    /// that are inserted or removed meanwhile may be counted or not.
    async fn survey(&self, subjects: &[Subject]) -> Result<Survey, TierError>;

    /// Resets the epoch at position `at`: every entry, tombstone and lease is void. The node stream gets an
    /// empty batch of the new epoch, so that the in-process tiers notice.
    async fn reset_epoch(&self, epoch: Epoch, at: Lsn, watermark: Lsn) -> Result<(), TierError>;

    /// Resets the buckets that can't follow `epoch` from `at` on, if the tier is divided and still in that
    /// epoch: their entries are void, the other buckets stay as they are. Returns `false` if no bucket was
    /// reset.
    async fn repair(&self, epoch: Epoch, at: Lsn) -> Result<bool, TierError> {
        let _ = (epoch, at);
        Ok(false)
    }

    /// Claims the tier for a leader, by the rule of [`Claim::replaces`], and states its mappings. The claim lives for
    /// [`CLAIM_LIFETIME`](coherence::leadership::CLAIM_LIFETIME); each applied batch renews it. The node stream gets
    /// an empty batch with the mappings.
    async fn lead(&self, request: &LeadRequest) -> Result<Led, TierError>;

    /// Returns the live claim, and the stated mappings.
    async fn leadership(&self) -> Result<Leadership, TierError>;

    /// Whether keys are divided into buckets, each with a position of its own, so that one may be lost alone
    /// (see [`coherence::buckets`]).
    fn is_divided(&self) -> bool {
        false
    }

    /// Returns the tier's position, or `None` if it has no epoch. The position of a divided tier is the
    /// one that all reachable buckets have reached.
    async fn position(&self) -> Result<Option<TierPosition>, TierError>;

    /// Returns the schema that was recorded in the tier's epoch, with that epoch. `None`: the tier has no epoch.
    async fn applied_schema(&self) -> Result<Option<(Epoch, Option<AppliedSchema>)>, TierError>;

    /// Records the schema that the log of `epoch` was applied under. Returns `false` if the tier is in another
    /// epoch, which then keeps its own.
    async fn record_schema(&self, epoch: Epoch, schema: &AppliedSchema) -> Result<bool, TierError>;

    /// Drops the tombstones up to `upto`, never past W, and raises the floor. Returns their number.
    async fn collect(&self, upto: Lsn) -> Result<u64, TierError>;

    /// Drops the oldest tombstones, never past W, and raises the floor, if there are more than this tier
    /// keeps. Returns their number.
    async fn trim_tombstones(&self) -> Result<u64, TierError> {
        Ok(0)
    }

    /// Announces this node for the time `life`, in place of its announcement of before. Returns those of the other nodes;
    /// a tier in the memory of one process has none.
    async fn announce(
        &self,
        record: &NodeRecord,
        life: Duration,
    ) -> Result<Vec<NodeRecord>, TierError> {
        let _ = (record, life);
        Ok(Vec::new())
    }

    /// Subscribes to the node stream. The channel is bounded. A subscriber that falls behind receives
    /// [`NodeMessage::Lost`], never a silent gap. A subscription that takes effect only after the call
    /// (Redis) begins with `Lost`. It reconnects by itself and ends when the receiver is dropped.
    fn subscribe(&self) -> mpsc::Receiver<NodeMessage>;
}
