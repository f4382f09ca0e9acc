//! The port to the tier that all nodes share.

mod hub;
mod marks;
mod memory;
mod redis;

pub use memory::MemoryTier;
pub use redis::{RedisLogin, RedisMetrics, RedisOptions, RedisTier, RedisTls};

use std::time::Duration;

use async_trait::async_trait;
use coherence::{Batch, Epoch, LeaseToken, Life, Lsn, Mono, Subject, Verdict, fence::Gap};
use contract::Key;
use thiserror::Error;
use tokio::sync::mpsc;

use crate::entry::Entry;
use crate::survey::Survey;
use crate::together::together;

/// Where the shared tier stands; read together with every answer, from the same shard.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Standing {
    /// The tier's history.
    pub epoch: Epoch,
    /// A: applied position, kept inside the shard itself, so that a tier which was rolled back
    /// shows it.
    pub applied: Lsn,
    /// W: the τ for a load that begins after this was read.
    pub watermark: Lsn,
}

/// One round trip's worth of reading.
#[derive(Clone, Debug)]
pub struct SharedRead {
    /// `None`: the tier has no epoch (new, flushed); nothing in it is proven, no fill is accepted.
    pub standing: Option<Standing>,
    /// What was found.
    pub outcome: Outcome,
}

/// What was found under the key.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// An entry that stands. Its τ may be given on as `standing.applied`: an entry that still
    /// stands misses no commit that its tier has applied.
    Found {
        /// The entry.
        entry: Entry,
        /// How long it has left to live.
        remaining: Duration,
    },
    /// Nothing, and the caller is to load it: nobody else will, until the lease runs out.
    Lead(LeaseToken),
    /// Nothing, and another node is loading it. Ask again after about this long.
    Wait(Duration),
    /// Nothing; no lease was asked for.
    Miss,
}

/// A value to store.
#[derive(Clone, Debug)]
pub struct Fill {
    /// Under which key.
    pub key: Key,
    /// What; `entry.tau` is the W that was known before the load began.
    pub entry: Entry,
    /// The epoch that came with that W.
    pub epoch: Epoch,
    /// The lease it was loaded under; released with the fill, accepted or not. A fill whose lease
    /// somebody else holds now is refused; one whose lease merely ran out is not. `None`: a refresh
    /// without lease.
    pub lease: Option<LeaseToken>,
}

/// A message of the node stream: every node's in-process tier applies them in order.
#[derive(Clone, Debug)]
pub enum NodeMessage {
    /// A piece of the log; positions chain, so a lost message shows as a gap.
    Batch(Batch),
    /// Drop these now. Carries no position and proves nothing: the fence is raised by the log
    /// message that follows.
    Evict(Vec<Subject>),
    /// The subscription broke or fell behind: messages may be missing. The in-process tier drops
    /// everything and begins again at this standing once it is known.
    Lost,
}

/// Reading an entry is a use, and it lives on: what its contract's `sliding` asks of a tier.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Slide {
    /// How long after its load it may live at most; [`Duration::MAX`]: as long as it is used.
    pub longest: Duration,
    /// A tier that has not applied the log up to here prolongs nothing: what it answers is not proven
    /// to be within its contract.
    pub proven_from: Lsn,
}

impl Slide {
    /// Of which no proof is asked (yet).
    #[must_use]
    pub const fn within(longest: Duration) -> Self {
        Self { longest, proven_from: Lsn::ZERO }
    }

    /// The life of an entry whose uses prolong it by `length`, `age` after its load.
    pub(crate) fn life(self, length: Duration, age: Duration, now: Mono) -> Life {
        Life { length, cap: now + self.longest.saturating_sub(age) }
    }
}

/// The shared tier failed.
#[derive(Debug, Error)]
pub enum TierError {
    /// No answer in time.
    #[error("the shared tier did not answer within {0:?}")]
    Timeout(Duration),
    /// Unreachable, or the connection broke.
    #[error("the shared tier can't be reached: {0}")]
    Unavailable(String),
    /// It holds something under our keys that we did not write.
    #[error("the shared tier holds something malformed: {0}")]
    Malformed(String),
    /// Set up in a way that would break the guarantee (eviction policy, version).
    #[error("the shared tier can't be used: {0}")]
    Unsuitable(String),
}

/// The tier that all nodes share. Embedded: memory, one process. Engine: Redis or Valkey.
///
/// Every method is one atomic step in the tier (one round trip) unless it says otherwise, and every
/// method is idempotent.
#[async_trait]
pub trait SharedTier: Send + Sync + 'static {
    /// Reads; on a miss asks for a lease of length `lease` if one is given. A tier without an epoch
    /// grants none: nobody should wait for a fill that will be refused.
    async fn read(&self, key: &Key, lease: Option<Duration>) -> Result<SharedRead, TierError>;

    /// As [`read`](Self::read) for each of the keys, in order: one round trip, one state of the tier,
    /// where it can. Each answer says which state it is of.
    async fn read_many(
        &self,
        keys: &[Key],
        lease: Option<Duration>,
    ) -> Result<Vec<SharedRead>, TierError> {
        let reads = together(keys.iter().map(|key| self.read(key, lease))).await;
        reads.into_iter().collect()
    }

    /// As [`read_many`](Self::read_many), and those entries that are found and have a [`Slide`] in the
    /// same place of `slides` begin their lives anew, in the same step (not what is absent: that has
    /// a life of its own). A tier that does not know how lets them live from their load.
    async fn read_using(
        &self,
        keys: &[Key],
        slides: &[Option<Slide>],
        lease: Option<Duration>,
    ) -> Result<Vec<SharedRead>, TierError> {
        let _ = slides;
        self.read_many(keys, lease).await
    }

    /// These are used elsewhere: as if each was [read](Self::read_using), with nothing answered.
    async fn touch(&self, uses: &[(Key, Slide)]) -> Result<(), TierError> {
        let _ = uses;
        Ok(())
    }

    /// Reads without a lease and, where the tier can, without counting as a use.
    async fn inspect(&self, key: &Key) -> Result<SharedRead, TierError> {
        self.read(key, None).await
    }

    /// Stores, by the fill rule, and releases the lease.
    async fn fill(&self, fill: &Fill) -> Result<Verdict, TierError>;

    /// The lease holder's heartbeat; false: the lease ran out, and may have been given on.
    async fn renew(&self, key: &Key, lease: LeaseToken, ttl: Duration) -> Result<bool, TierError>;

    /// Gives a lease back without a value.
    async fn release(&self, key: &Key, lease: LeaseToken) -> Result<(), TierError>;

    /// Applies a piece of the log and publishes it on the node stream, in one step. An empty batch
    /// is a heartbeat. A gap leaves the tier as it was.
    async fn apply(&self, batch: &Batch) -> Result<Result<(), Gap>, TierError>;

    /// Drops entries at once and tells the nodes to; raises no fence (see [`NodeMessage::Evict`]).
    /// Wildcards take many steps: every entry has to be looked at.
    async fn evict(&self, subjects: &[Subject]) -> Result<(), TierError>;

    /// Looks at every entry for those that the subjects concern, in many small steps; removes nothing.
    /// Counts what counts as present. Entries that come or go meanwhile may be in it or not.
    async fn survey(&self, subjects: &[Subject]) -> Result<Survey, TierError>;

    /// Starts a new history at `at`: every entry, tombstone and lease is void. The node stream gets
    /// an empty batch of the new epoch, so that in-process tiers notice.
    async fn incarnate(&self, epoch: Epoch, at: Lsn, watermark: Lsn) -> Result<(), TierError>;

    /// Begins anew those parts of the tier that can't follow the history `epoch` from `at` on, if the tier
    /// is divided and still of that history: what was cached in them is void, the rest stays. False:
    /// there are none.
    async fn mend(&self, epoch: Epoch, at: Lsn) -> Result<bool, TierError> {
        let _ = (epoch, at);
        Ok(false)
    }

    /// Whether keys are divided among parts of the tier, of which each has a standing of its own, so that
    /// one may be lost alone (see [`coherence::buckets`]).
    fn is_divided(&self) -> bool {
        false
    }

    /// Where the tier stands; `None` if it has no epoch. Of a divided one: as far as all parts that can be
    /// reached have got.
    async fn standing(&self) -> Result<Option<Standing>, TierError>;

    /// Drops tombstones up to `upto` (never past W) and raises the floor. Answers how many.
    async fn collect(&self, upto: Lsn) -> Result<u64, TierError>;

    /// Drops the oldest tombstones (never past W) and raises the floor, if there are more than this
    /// tier keeps. Answers how many.
    async fn make_room(&self) -> Result<u64, TierError> {
        Ok(0)
    }

    /// Subscribes to the node stream. The channel is bounded; a subscriber that falls behind gets
    /// [`NodeMessage::Lost`], never a silent gap. A subscription that takes effect only after the
    /// call (Redis) begins with `Lost`. It reconnects by itself and ends when the receiver is
    /// dropped.
    fn subscribe(&self) -> mpsc::Receiver<NodeMessage>;
}
