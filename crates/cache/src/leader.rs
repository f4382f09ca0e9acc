//! The one node that follows the log moves the shared tier along it.
//!
//! Leadership is the feed's affair (a replication slot serves one reader). Nothing here breaks if
//! two nodes believe to lead for a while: every step is idempotent and moves forward only.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use coherence::fence::Gap;
use coherence::resume::{Resume, Start, resume};
use coherence::{Batch, Clock, Epoch, Event, Lsn, Mono, Recent};

use crate::engine::Engine;
use crate::shared::{SharedTier, TierError};

/// How often tombstones are offered for collection.
const COLLECT_EVERY: Duration = Duration::from_secs(30);

/// After so many subjects of events the shared tier is asked to make room for more tombstones.
const ROOM_EVERY: usize = 50_000;

/// How many subjects of events are remembered for a tier that comes back older.
const RECENT_SUBJECTS: usize = 100_000;

/// Moves the shared tier and this node's own tier along the log.
pub struct Leader {
    engine: Engine,
    shared: Arc<dyn SharedTier>,
    clock: Arc<dyn Clock>,
    /// Tombstones older than any entry can be are of no use but to fills in flight.
    keep: Duration,
    watermarks: VecDeque<(Mono, Lsn)>,
    following: Option<Following>,
    recent: Recent,
    /// Subjects applied since the shared tier was last asked to make room.
    told: usize,
}

#[derive(Clone, Copy)]
struct Following {
    epoch: Epoch,
    start: Start,
    /// Everything up to here was applied.
    applied: Lsn,
    watermark: Lsn,
}

/// What happened to a piece of the log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Moved {
    /// Applied under the present epoch.
    Applied,
    /// The tier had gone back to this position; what it missed was told again, and the piece applied.
    ToldAgain(Lsn),
    /// Parts of the tier had lost their marks; these have begun anew, alone, and the piece was applied.
    Mended(Gap),
    /// The tier had lost its marks; a new incarnation was begun, and the piece applied to it.
    BegunAnew(Gap),
}

impl Leader {
    /// `longest_ttl`: the longest life any contract gives an entry.
    #[must_use]
    pub fn new(engine: Engine, clock: Arc<dyn Clock>, longest_ttl: Duration) -> Self {
        let shared = Arc::clone(engine.shared());
        let keep = longest_ttl.max(Duration::from_secs(60)) * 2;
        let recent = Recent::new(RECENT_SUBJECTS);
        let watermarks = VecDeque::new();
        Self { engine, shared, clock, keep, watermarks, following: None, recent, told: ROOM_EVERY }
    }

    /// The feed has (re)connected: go on, or begin a new history. Answers the verdict, and W as the
    /// tier knows it, which is nothing for a new history.
    ///
    /// # Errors
    /// The shared tier could not be asked or set up; try again with the same start.
    pub async fn start(&mut self, start: Start) -> Result<(Resume, Lsn), TierError> {
        let mut found = self.shared.standing().await?;
        if self.shared.is_divided()
            && let Some(standing) = found.filter(|standing| standing.applied < start.position)
            && self.shared.mend(standing.epoch, start.position).await?
        {
            found = self.shared.standing().await?;
        }
        let verdict =
            resume(found.map(|s| (s.epoch, s.applied)), &start, self.engine.chance().draw());
        let mut watermark = found.map(|s| s.watermark).unwrap_or_default();
        let epoch = match verdict {
            Resume::Continue(epoch) => epoch,
            Resume::Begin(epoch) => {
                self.shared.incarnate(epoch, start.position, Lsn::ZERO).await?;
                watermark = Lsn::ZERO;
                epoch
            }
        };
        self.watermarks.clear();
        self.recent.clear();
        self.following = Some(Following { epoch, start, applied: start.position, watermark });
        Ok((verdict, watermark))
    }

    /// Applies the next piece of the log to the shared tier, and to this node's own while that is
    /// under way. Repeat it on an error: nothing may be acknowledged to the database before this has
    /// succeeded. `events` are as they were afterwards, so that they need not be copied for that.
    ///
    /// # Errors
    /// The shared tier failed; the piece may or may not have been applied.
    ///
    /// # Panics
    /// Never: [`Leader::start`] comes before the first piece, otherwise the piece is ignored.
    pub async fn apply(
        &mut self,
        prev: Lsn,
        upto: Lsn,
        watermark: Lsn,
        events: &mut Vec<Event>,
    ) -> Result<Moved, TierError> {
        let Some(Following { epoch, start, .. }) = self.following else {
            return Ok(Moved::Applied);
        };
        let mut batch = Batch { epoch, prev, upto, watermark, events: std::mem::take(events) };
        let moved = self.apply_to_both(&start, &mut batch).await;
        if moved.is_ok() {
            let epoch = batch.epoch;
            self.following = Some(Following { epoch, start, applied: upto, watermark });
            self.told += batch.events.iter().map(|event| event.subjects.len()).sum::<usize>();
            self.recent.push(&batch);
        }
        *events = batch.events;
        moved
    }

    /// Moves both tiers along `batch`, whose epoch becomes another one where a new history has to begin.
    async fn apply_to_both(
        &mut self,
        start: &Start,
        batch: &mut Batch,
    ) -> Result<Moved, TierError> {
        let own = async { self.engine.applied(batch) };
        let (shared, ()) = tokio::join!(biased; self.shared.apply(batch), own);
        let Err(gap) = shared? else { return Ok(Moved::Applied) };
        if let Gap::Missing { applied, .. } = gap
            && self.tell_again(batch, applied).await?
        {
            return Ok(Moved::ToldAgain(applied));
        }
        if self.mend(batch).await? {
            return Ok(Moved::Mended(gap));
        }
        batch.epoch = self.begin_anew(start, batch).await?;
        self.engine.applied(batch);
        Ok(Moved::BegunAnew(gap))
    }

    /// Looks whether the shared tier still stands where it was moved to, which a server that was
    /// flushed or replaced does not, and mends it. Call it when the log is silent for a while.
    ///
    /// # Errors
    /// The shared tier failed; the next call tries again.
    pub async fn tend(&mut self) -> Result<Moved, TierError> {
        let Some(Following { epoch, applied, watermark, .. }) = self.following else {
            return Ok(Moved::Applied);
        };
        let stands = match self.shared.standing().await? {
            // Of another history: somebody else may lead. The next piece of the log will tell.
            Some(standing) if standing.epoch != epoch => true,
            // Each part has to be asked whether it follows.
            Some(standing) => standing.applied >= applied && !self.shared.is_divided(),
            None => false,
        };
        if stands {
            return Ok(Moved::Applied);
        }
        self.apply(applied, applied, watermark, &mut Vec::new()).await
    }

    /// Brings a tier that has applied `applied` only to where `batch` ends; false: too much is
    /// missing.
    async fn tell_again(&self, batch: &Batch, applied: Lsn) -> Result<bool, TierError> {
        let Some(missing) = self.recent.since(batch.epoch, applied) else {
            return Ok(false);
        };
        for batch in missing.chain([batch]) {
            if self.shared.apply(batch).await?.is_err() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Begins anew the parts of the tier that can't be told `batch`, and applies it; false: that does not
    /// help.
    async fn mend(&self, batch: &Batch) -> Result<bool, TierError> {
        Ok(self.shared.mend(batch.epoch, batch.prev).await?
            && self.shared.apply(batch).await?.is_ok())
    }

    /// Begins a new history where `batch` begins, and applies it; answers its epoch.
    async fn begin_anew(&mut self, start: &Start, batch: &Batch) -> Result<Epoch, TierError> {
        let begin = resume(None, start, self.engine.chance().draw());
        let (Resume::Begin(epoch) | Resume::Continue(epoch)) = begin;
        self.shared.incarnate(epoch, batch.prev, Lsn::ZERO).await?;
        // A try that fails from here on goes on under the new one.
        if let Some(following) = &mut self.following {
            following.epoch = epoch;
        }
        let batch = Batch { epoch, ..batch.clone() };
        match self.shared.apply(&batch).await? {
            Ok(()) => Ok(epoch),
            Err(gap) => Err(TierError::Unavailable(format!(
                "it lost its marks again while it was being set up ({gap})"
            ))),
        }
    }

    /// Lets go of tombstones that only a read older than any entry's life could need, and of the oldest
    /// where there are more than the shared tier keeps. Call it after each piece; it does something
    /// every half minute, and after many subjects. Answers how many were dropped.
    ///
    /// # Errors
    /// The shared tier failed; harmless, the next call tries again.
    pub async fn collect(&mut self) -> Result<u64, TierError> {
        let now = self.clock.mono();
        let mut dropped = 0;
        if self.told >= ROOM_EVERY {
            self.told = 0;
            dropped = self.shared.make_room().await?;
        }
        if self.watermarks.back().is_some_and(|(at, _)| now.since(*at) < COLLECT_EVERY) {
            return Ok(dropped);
        }
        let Some(standing) = self.shared.standing().await? else {
            return Ok(dropped);
        };
        self.watermarks.push_back((now, standing.watermark));
        let mut upto = None;
        while self.watermarks.front().is_some_and(|(at, _)| now.since(*at) > self.keep) {
            upto = self.watermarks.pop_front().map(|(_, watermark)| watermark);
        }
        match upto {
            Some(upto) => Ok(dropped + self.shared.collect(upto).await?),
            None => Ok(dropped),
        }
    }
}
