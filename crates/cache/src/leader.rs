//! The leader: the node that follows the log and applies it to the shared tier.
//!
//! The feed decides which node leads (a replication slot serves one reader). Nothing here breaks if two nodes
//! believe to lead for a while: every step is idempotent and moves forward only.

mod claim;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use coherence::fence::Gap;
use coherence::resume::{Resume, Start, resume};
use coherence::{Batch, Clock, Coverage, Epoch, Event, History, Lsn, Mono, ReplayBuffer};

use crate::engine::Engine;
use crate::shared::{SharedTier, TierError};

/// The interval at which tombstones are collected.
const COLLECT_INTERVAL: Duration = Duration::from_secs(30);

/// The number of applied subjects after which the shared tier trims its tombstones.
const TRIM_AFTER: usize = 50_000;

/// The number of subjects that are kept to replay to a tier that comes back older.
const REPLAY_SUBJECTS: usize = 100_000;

/// Applies the log to the shared tier and to this node's in-process tier.
pub struct Leader {
    engine: Engine,
    shared: Arc<dyn SharedTier>,
    clock: Arc<dyn Clock>,
    /// The age at which tombstones are collected: twice the longest life of an entry, so that only fills in
    /// flight could still need them.
    tombstone_life: Duration,
    watermarks: VecDeque<(Mono, Lsn)>,
    following: Option<Following>,
    replay: ReplayBuffer,
    /// Identifies this process among the leaders of a tier.
    node: u64,
    /// How often other mappings than this leader's own were found stated.
    takeovers: u64,
    /// Subjects applied since the shared tier last trimmed its tombstones.
    untrimmed: usize,
}

/// The follower of a log, as a leader claims a shared tier for it.
#[derive(Clone, Debug, Default)]
pub struct Consumer {
    /// A digest of the name under which the database tracks it.
    pub slot: u64,
    /// The database and the slot, for people.
    pub label: Arc<str>,
    /// The timelines before that of the log.
    pub history: History,
}

#[derive(Clone)]
struct Following {
    epoch: Epoch,
    start: Start,
    consumer: Consumer,
    /// The mappings that the tier states: this leader's own, or some of them.
    stated: Coverage,
    /// Every event up to here has been applied.
    applied: Lsn,
    watermark: Lsn,
}

/// The result of applying a batch of the log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ApplyResult {
    /// Applied under the current epoch.
    Applied,
    /// The tier had gone back to this position; the batches it had lost were replayed, and the batch applied.
    Replayed(Lsn),
    /// Parts of the tier had lost their tombstones; only those were reset, and the batch applied.
    Repaired(Gap),
    /// The tier had lost its tombstones; its epoch was reset, and the batch applied.
    Reset(Gap),
}

impl Leader {
    /// Creates a leader. `longest_ttl`: the longest life that any contract gives an entry.
    #[must_use]
    pub fn new(engine: Engine, clock: Arc<dyn Clock>, longest_ttl: Duration) -> Self {
        let shared = Arc::clone(engine.shared());
        let tombstone_life = longest_ttl.max(Duration::from_secs(60)) * 2;
        let node = engine.chance().draw();
        Self {
            engine,
            shared,
            clock,
            tombstone_life,
            watermarks: VecDeque::new(),
            following: None,
            replay: ReplayBuffer::new(REPLAY_SUBJECTS),
            node,
            takeovers: 0,
            untrimmed: TRIM_AFTER,
        }
    }

    /// Claims the shared tier for `consumer` and continues its epoch, or resets it, after the feed has
    /// (re)connected. Returns the verdict, and W as the tier knows it, which is zero for a new epoch.
    ///
    /// # Errors
    /// The shared tier could not be read or reset, or another leader's claim stands; try again with the same
    /// start.
    pub async fn start(
        &mut self,
        start: Start,
        consumer: Consumer,
    ) -> Result<(Resume, Lsn), TierError> {
        let mut stated = self.claim(&start, &consumer).await?;
        let mut found = self.shared.position().await?;
        if self.shared.is_divided()
            && let Some(position) = found.filter(|position| position.applied < start.position)
            && self.shared.repair(position.epoch, start.position).await?
        {
            found = self.shared.position().await?;
        }
        let verdict = resume(
            found.map(|position| (position.epoch, position.applied)),
            &start,
            self.engine.chance().draw(),
        );
        let mut watermark = found.map(|position| position.watermark).unwrap_or_default();
        let epoch = match verdict {
            Resume::Continue(epoch) => epoch,
            Resume::Reset(epoch) => {
                self.shared.reset_epoch(epoch, start.position, Lsn::ZERO).await?;
                // No entry is left that an unmapped event could have missed.
                stated = self.state(&start, &consumer, &stated, self.engine.coverage()).await?;
                watermark = Lsn::ZERO;
                epoch
            }
        };
        self.watermarks.clear();
        self.replay.clear();
        let applied = start.position;
        self.following = Some(Following { epoch, start, consumer, stated, applied, watermark });
        Ok((verdict, watermark))
    }

    /// Returns the epoch that is led, after [`start`](Self::start).
    #[must_use]
    pub fn epoch(&self) -> Option<Epoch> {
        self.following.as_ref().map(|following| following.epoch)
    }

    /// Applies the next batch of the log to the shared tier, and concurrently to this node's in-process tier.
    /// Repeat it on an error: nothing may be acknowledged to the database before this has succeeded. `events`
    /// is unchanged afterwards, so that it need not be copied for a repetition. Before [`Leader::start`] the
    /// batch is ignored.
    ///
    /// # Errors
    /// The shared tier failed; the batch may or may not have been applied.
    pub async fn apply(
        &mut self,
        prev: Lsn,
        upto: Lsn,
        watermark: Lsn,
        events: &mut Vec<Event>,
    ) -> Result<ApplyResult, TierError> {
        let Some(Following { epoch, start, stated, .. }) = &self.following else {
            return Ok(ApplyResult::Applied);
        };
        let (epoch, start, coverage) = (*epoch, *start, stated.digest());
        let events_taken = std::mem::take(events);
        let mut batch = Batch { epoch, prev, upto, watermark, coverage, events: events_taken };
        let result = self.apply_to_both(&start, &mut batch).await;
        if result.is_ok() {
            if let Some(following) = &mut self.following {
                following.epoch = batch.epoch;
                (following.applied, following.watermark) = (upto, watermark);
            }
            self.untrimmed += batch.events.iter().map(|event| event.subjects.len()).sum::<usize>();
            self.replay.push(&batch);
        }
        *events = batch.events;
        result
    }

    /// Applies `batch` to both tiers. Its epoch is replaced if the epoch has to be reset.
    async fn apply_to_both(
        &mut self,
        start: &Start,
        batch: &mut Batch,
    ) -> Result<ApplyResult, TierError> {
        let own = async { self.engine.applied(batch) };
        let (shared, ()) = tokio::join!(biased; self.shared.apply(batch), own);
        let Err(mut gap) = shared? else { return Ok(ApplyResult::Applied) };
        if let Gap::Coverage { .. } = gap {
            batch.coverage = self.claim_again().await?;
            match self.shared.apply(batch).await? {
                Ok(()) => return Ok(ApplyResult::Applied),
                Err(after) => gap = after,
            }
        }
        if let Gap::Missing { applied, .. } = gap
            && self.replay_from(applied, batch).await?
        {
            return Ok(ApplyResult::Replayed(applied));
        }
        if self.repair(batch).await? {
            return Ok(ApplyResult::Repaired(gap));
        }
        batch.epoch = self.reset_epoch(start, batch).await?;
        batch.coverage = self.engine.coverage().digest();
        self.engine.applied(batch);
        Ok(ApplyResult::Reset(gap))
    }

    /// Renews the claim, and checks whether the shared tier still is at the position that was applied to it,
    /// which a server that was flushed or replaced is not, and repairs it. Call it when the log has been silent
    /// for a while.
    ///
    /// # Errors
    /// The shared tier failed; the next call tries again.
    pub async fn reconcile(&mut self) -> Result<ApplyResult, TierError> {
        let Some(following) = self.following.clone() else { return Ok(ApplyResult::Applied) };
        let Following { epoch, start, consumer, stated, applied, watermark } = following;
        match self.state(&start, &consumer, &stated, &stated).await {
            Ok(_) => {}
            // Other mappings are stated, or none after a flush: the next batch finds out.
            Err(TierError::Unavailable(_)) => {}
            Err(err) => return Err(err),
        }
        let is_current = match self.shared.position().await? {
            // Another epoch: another node may lead. The next batch of the log will show it.
            Some(position) if position.epoch != epoch => true,
            // Each part of a divided tier has to be checked.
            Some(position) => position.applied >= applied && !self.shared.is_divided(),
            None => false,
        };
        if is_current {
            return Ok(ApplyResult::Applied);
        }
        self.apply(applied, applied, watermark, &mut Vec::new()).await
    }

    /// Replays the batches from `applied` up to the end of `batch` to the shared tier. Returns false if
    /// too much is missing.
    async fn replay_from(&self, applied: Lsn, batch: &Batch) -> Result<bool, TierError> {
        let Some(missing) = self.replay.since(batch.epoch, applied) else {
            return Ok(false);
        };
        for missing in missing {
            // They were mapped by this leader too, under any earlier statement.
            let missing = Batch { coverage: batch.coverage, ..missing.clone() };
            if self.shared.apply(&missing).await?.is_err() {
                return Ok(false);
            }
        }
        Ok(self.shared.apply(batch).await?.is_ok())
    }

    /// Resets the parts of the tier that can't follow `batch`, and applies it. Returns false if that does not
    /// help.
    async fn repair(&self, batch: &Batch) -> Result<bool, TierError> {
        Ok(self.shared.repair(batch.epoch, batch.prev).await?
            && self.shared.apply(batch).await?.is_ok())
    }

    /// Resets the epoch at the start of `batch`, and applies it. Returns the new epoch.
    async fn reset_epoch(&mut self, start: &Start, batch: &Batch) -> Result<Epoch, TierError> {
        let begin = resume(None, start, self.engine.chance().draw());
        let (Resume::Reset(epoch) | Resume::Continue(epoch)) = begin;
        self.claim_again().await?;
        self.shared.reset_epoch(epoch, batch.prev, Lsn::ZERO).await?;
        // A try that fails from here on continues under the new epoch.
        if let Some(following) = &mut self.following {
            following.epoch = epoch;
        }
        self.state_all(Lsn::ZERO).await?;
        let batch = Batch { epoch, coverage: self.engine.coverage().digest(), ..batch.clone() };
        match self.shared.apply(&batch).await? {
            Ok(()) => Ok(epoch),
            Err(gap) => Err(TierError::Unavailable(format!(
                "it lost its tombstones again during the epoch reset ({gap})"
            ))),
        }
    }

    /// Collects tombstones that only a read older than any entry's life could need, and trims the oldest
    /// where there are more than the shared tier keeps. Call it after each batch; it collects every half
    /// minute, and trims after many subjects. Returns the number of dropped tombstones.
    ///
    /// # Errors
    /// The shared tier failed; harmless, the next call tries again.
    pub async fn collect(&mut self) -> Result<u64, TierError> {
        let now = self.clock.mono();
        let mut dropped = 0;
        if self.untrimmed >= TRIM_AFTER {
            self.untrimmed = 0;
            dropped = self.shared.trim_tombstones().await?;
        }
        if self.watermarks.back().is_some_and(|(at, _)| now.since(*at) < COLLECT_INTERVAL) {
            return Ok(dropped);
        }
        let Some(position) = self.shared.position().await? else {
            return Ok(dropped);
        };
        self.watermarks.push_back((now, position.watermark));
        let mut upto = None;
        while self.watermarks.front().is_some_and(|(at, _)| now.since(*at) > self.tombstone_life) {
            upto = self.watermarks.pop_front().map(|(_, watermark)| watermark);
        }
        match upto {
            Some(upto) => Ok(dropped + self.shared.collect(upto).await?),
            None => Ok(dropped),
        }
    }
}
