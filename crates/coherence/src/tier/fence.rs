//! The fence: no entry that misses an applied commit is stored, and none stays.
//!
//! **Callers must ensure invariant (I):** a fill carries a τ such that every relevant commit with an
//! end position ≤ τ is visible to *all* snapshots that the fill used.
//!
//! **The fence then guarantees:** once an event (e, k) was applied, no entry under k with τ < e stands,
//! in any interleaving of fills, events, repeats and collections.

use std::collections::BTreeMap;

use contract::{Key, Tag};
use thiserror::Error;

use crate::event::{Batch, Event, Subject};
use crate::position::{Epoch, Lsn};
use crate::rules::{Rule, on};
use crate::tier::coverage::CoverageDigest;
use crate::tier::soft::is_soft;
use crate::tier::tombstones::Tombstones;

/// The invalidations of one tier, or of one shard of it.
///
/// Nothing depends on the order of an unordered map: a simulation replays to the byte, and the model checker
/// can hash the state.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Fence {
    epoch: Option<Epoch>,
    applied: Lsn,
    watermark: Lsn,
    coverage: CoverageDigest,
    /// The events after this position, up to A, were applied under the present mappings.
    mapped_from: Lsn,
    floor: Lsn,
    /// The newest event that is not [soft](is_soft).
    hard: Lsn,
    tombstones: Tombstones,
    /// The tombstones of wildcards, which are searched one by one: at most
    /// [`PATTERNS_MAX`](Fence::PATTERNS_MAX).
    patterns: BTreeMap<Subject, Lsn>,
}

/// A value that is offered for storage.
#[derive(Clone, Copy, Debug)]
pub struct Offer<'a> {
    /// Its key.
    pub key: &'a Key,
    /// Its tags; an event for one of them concerns it.
    pub tags: &'a [Tag],
    /// Its τ, see invariant (I).
    pub tau: Lsn,
    /// The tier's epoch, as known before the origin was read.
    pub epoch: Epoch,
    /// The τ of the entry that is stored under the key now.
    pub stored: Option<Lsn>,
}

/// The decision about a fill. A refused fill still answers its own reader.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Verdict {
    /// Store it.
    Accept,
    /// Do not store it.
    Refuse(Refusal),
}

/// The reason why a fill is not stored.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Refusal {
    /// The tier has no epoch (never set up, or flushed): nothing can be proven yet.
    Unproven,
    /// It was read in another epoch.
    Epoch,
    /// An invalidation of its key or tag is newer than the read.
    Tombstone,
    /// Tombstones of its age were collected, so it can't be judged.
    Floor,
    /// The stored entry is from a later read.
    Older,
    /// The lease under which it was loaded has another holder by now.
    Lease,
}

impl Refusal {
    /// Returns the name used in metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unproven => "unproven",
            Self::Epoch => "epoch",
            Self::Tombstone => "tombstone",
            Self::Floor => "floor",
            Self::Older => "older",
            Self::Lease => "lease",
        }
    }

    /// Returns the refusal with this [name](Self::as_str).
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Unproven, Self::Epoch, Self::Tombstone, Self::Floor, Self::Older, Self::Lease]
            .into_iter()
            .find(|refusal| refusal.as_str() == name)
    }
}

/// The reason why a tier can't apply a batch: it has missed an earlier one.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Gap {
    /// The tier has no epoch: it was flushed, or is new.
    #[error("the tier has no epoch: it is new or was flushed")]
    Unproven,
    /// The batch belongs to another epoch.
    #[error("the tier's epoch is {tier}")]
    Epoch {
        /// The tier's own epoch.
        tier: Epoch,
    },
    /// The batch is of a leader with other mappings than the tier has stated.
    #[error("the tier has stated the mappings {tier}")]
    Coverage {
        /// The mappings that the tier has stated.
        tier: CoverageDigest,
    },
    /// The tier is at a position before the batch's start: events in between are missing.
    #[error("the tier has applied the log up to {applied} only, the batch begins at {prev}")]
    Missing {
        /// The tier's position.
        applied: Lsn,
        /// The batch's start.
        prev: Lsn,
    },
}

/// The result of [`Fence::follow`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Followed {
    /// The batch was applied.
    Applied,
    /// The batch repeats events that were applied before; no entry is concerned.
    Repeated,
    /// An earlier batch is missing; nothing was applied.
    Gap(Gap),
    /// An earlier batch is missing; the epoch was reset at the end of the batch.
    Reset(Gap),
}

impl Fence {
    /// The largest number of wildcard tombstones. When there are more, the floor replaces the oldest ones,
    /// which invalidates everything that was read before them.
    pub const PATTERNS_MAX: usize = 32;

    /// Resets the epoch: everything older is unproven, and reads that began before `at` may not fill. The
    /// caller drops the entries.
    pub fn reset_epoch(&mut self, epoch: Epoch, at: Lsn, watermark: Lsn) {
        self.epoch = Some(epoch);
        (self.applied, self.mapped_from) = (at, at);
        self.floor = if on(Rule::EpochResetRaisesFloor) { at } else { Lsn::ZERO };
        self.watermark = watermark;
        self.hard = at;
        self.tombstones.clear();
        self.patterns.clear();
    }

    /// Applies a batch: raises tombstones and moves A and W forward. Repeats are harmless.
    ///
    /// The caller removes the entries that no longer [stand](Self::stands) before it publishes the new
    /// [`applied`](Self::applied) position.
    ///
    /// # Errors
    /// [`Gap`]: nothing was applied; the tier needs a replay or an epoch reset.
    pub fn apply(&mut self, batch: &Batch) -> Result<(), Gap> {
        self.check_epoch(batch)?;
        if on(Rule::BatchOfStatedCoverage) && self.coverage != batch.coverage {
            return Err(Gap::Coverage { tier: self.coverage });
        }
        self.advance(batch, &batch.events)
    }

    fn check_epoch(&self, batch: &Batch) -> Result<(), Gap> {
        let epoch = self.epoch.ok_or(Gap::Unproven)?;
        if on(Rule::BatchOfOwnEpoch) && epoch != batch.epoch {
            return Err(Gap::Epoch { tier: epoch });
        }
        Ok(())
    }

    fn advance(&mut self, batch: &Batch, new: &[Event]) -> Result<(), Gap> {
        if on(Rule::BatchWithoutGap) && self.applied < batch.prev {
            return Err(Gap::Missing { applied: self.applied, prev: batch.prev });
        }
        for event in new {
            self.raise(event);
        }
        self.limit_patterns();
        self.applied = self.applied.max(batch.upto);
        self.watermark = self.watermark.max(batch.watermark);
        Ok(())
    }

    /// Applies a batch to a tier that can't request a replay (an in-process one). It takes over the mappings that
    /// the batch names: the shared tier has checked them, or this node is the leader.
    ///
    /// `in_order`: the batch came by the node stream, so that no later batch will fill a gap before it, and
    /// an epoch other than the tier's own is a later one. After [`Followed::Reset`] the caller drops all
    /// entries: a tier without entries misses nothing at the batch's end.
    pub fn follow(&mut self, batch: &Batch, in_order: bool) -> Followed {
        // A batch that comes again by the shortcut may be of a leader before the present one.
        let is_current = in_order || batch.upto >= self.applied;
        let is_repeat = self.repeats(batch);
        let new = if is_repeat { &[][..] } else { &batch.events };
        let applied_before = self.applied;
        match self.check_epoch(batch).and_then(|()| self.advance(batch, new)) {
            Ok(()) if is_repeat => Followed::Repeated,
            Ok(()) => {
                if is_current && self.coverage != batch.coverage {
                    (self.coverage, self.mapped_from) = (batch.coverage, applied_before);
                }
                Followed::Applied
            }
            Err(gap) if in_order => {
                self.reset_to(batch);
                Followed::Reset(gap)
            }
            Err(gap) => Followed::Gap(gap),
        }
    }

    /// Returns whether every event of the batch was applied before, mapped as it is now. The leader applies a
    /// batch by the shortcut, and the stream brings it again.
    ///
    /// A leader with other mappings may name more subjects in a commit that was applied: its batches are new.
    fn repeats(&self, batch: &Batch) -> bool {
        let is_known = |event: &Event| self.mapped_from < event.lsn && event.lsn <= self.applied;
        self.epoch == Some(batch.epoch)
            && self.coverage == batch.coverage
            && !batch.events.is_empty()
            && (batch.events.iter().all(is_known) || !on(Rule::RepeatIsKnown))
    }

    /// Resets the epoch at the end of a batch that can't be applied. The tombstones of a large commit,
    /// whose parts arrive in several batches, may lie beyond that end; they are kept.
    pub fn reset_to(&mut self, batch: &Batch) {
        self.reset_epoch(batch.epoch, batch.upto, batch.watermark);
        self.coverage = batch.coverage;
        let beyond = batch.events.iter().filter(|event| event.lsn > batch.upto);
        beyond.for_each(|event| self.raise(event));
    }

    fn raise(&mut self, event: &Event) {
        if !is_soft(event) {
            self.hard = self.hard.max(event.lsn);
        }
        for subject in &event.subjects {
            let rule = match subject {
                Subject::Key(_) => Rule::TombstoneKeys,
                Subject::Tag(_) => Rule::TombstoneTags,
                Subject::KeysLike(_) | Subject::TagsLike(_) => Rule::TombstonePatterns,
                Subject::Everything => Rule::EverythingRaisesFloor,
            };
            if !on(rule) {
                continue;
            }
            if *subject == Subject::Everything {
                self.floor = self.floor.max(event.lsn);
                continue;
            }
            let tombstone = match subject.is_pattern() {
                true => self.patterns.entry(subject.clone()).or_default(),
                false => self.tombstones.entry(subject),
            };
            if on(Rule::TombstonesNeverFall) {
                *tombstone = event.lsn.max(*tombstone);
            } else {
                *tombstone = event.lsn;
            }
        }
    }

    /// Drops the oldest wildcards if there are too many.
    fn limit_patterns(&mut self) {
        let Some(over) = self.patterns.len().checked_sub(Self::PATTERNS_MAX + 1) else { return };
        let mut positions: Vec<Lsn> = self.patterns.values().copied().collect();
        positions.sort_unstable();
        let upto = positions[over];
        self.patterns.retain(|_, tombstone| *tombstone > upto);
        self.raise_floor(upto);
    }

    /// Raises the floor in place of tombstones up to `upto`.
    fn raise_floor(&mut self, upto: Lsn) {
        if on(Rule::CollectionRaisesFloor) {
            self.floor = self.floor.max(upto);
        }
    }

    /// Decides whether a fill may be stored: the fill rule.
    #[must_use]
    pub fn admit(&self, offer: Offer<'_>) -> Verdict {
        let Some(epoch) = self.epoch else {
            return Verdict::Refuse(Refusal::Unproven);
        };
        if on(Rule::FillOfOwnEpoch) && epoch != offer.epoch {
            return Verdict::Refuse(Refusal::Epoch);
        }
        if on(Rule::FillAboveFloor) && offer.tau < self.floor {
            return Verdict::Refuse(Refusal::Floor);
        }
        let newest = self.newest_tombstone(offer.key, offer.tags);
        if on(Rule::FillAboveTombstones) && offer.tau < newest {
            return Verdict::Refuse(Refusal::Tombstone);
        }
        let older = offer.stored.is_some_and(|stored| offer.tau < stored);
        if on(Rule::FillNotOlder) && older {
            return Verdict::Refuse(Refusal::Older);
        }
        Verdict::Accept
    }

    /// Decides whether a fill that [`admit`](Self::admit) refuses because of a tombstone may be stored
    /// [soft-stale](crate::soft), and returns the first position that it may miss. `stored` is the τ of the
    /// present entry.
    ///
    /// A tombstone does not record which commits raised it, so all commits after τ count as missing. A
    /// fill that began before an event that is not soft is never stored.
    #[must_use]
    pub fn admit_late(&self, offer: Offer<'_>) -> Option<Lsn> {
        if self.admit(offer) != Verdict::Refuse(Refusal::Tombstone) || offer.tau < self.hard {
            return None;
        }
        if offer.stored.is_some_and(|stored| offer.tau < stored) {
            return None;
        }
        if on(Rule::LateFillReachesToken) {
            Some(Lsn(offer.tau.0 + 1))
        } else {
            Some(self.newest_tombstone(offer.key, offer.tags))
        }
    }

    /// Returns whether an entry that was stored in this epoch with token `tau` still stands.
    #[must_use]
    pub fn stands(&self, key: &Key, tags: &[Tag], tau: Lsn) -> bool {
        (tau >= self.floor || !on(Rule::ReadAboveFloor))
            && (tau >= self.newest_tombstone(key, tags) || !on(Rule::ReadAboveTombstones))
    }

    /// Returns the newer token of an entry that was stored in this epoch with `tau` and still stands: it
    /// misses no applied commit. `None` if the entry does not stand.
    ///
    /// An entry whose TTL is prolonged needs the newer token: tombstones older than the usual TTL are
    /// [collected](Self::collect), and the floor that replaces them invalidates older entries.
    #[must_use]
    pub fn confirm(&self, key: &Key, tags: &[Tag], tau: Lsn) -> Option<Lsn> {
        self.stands(key, tags, tau).then(|| tau.max(self.applied))
    }

    /// Returns whether this tier knows that an entry is old although it stands in another tier, which has
    /// applied `applied` in `epoch`: the other tier was restored from older data, or lags. False for
    /// another log, which this tier knows nothing about.
    #[must_use]
    pub fn outdates(&self, key: &Key, tags: &[Tag], epoch: Epoch, applied: Lsn) -> bool {
        let same_log = self.epoch.is_some_and(|own| own.log() == epoch.log());
        same_log && !self.stands(key, tags, applied)
    }

    fn newest_tombstone(&self, key: &Key, tags: &[Tag]) -> Lsn {
        let tombstone = |subject: &Subject| self.tombstones.get(subject);
        let named = tags
            .iter()
            .map(|tag| tombstone(&Subject::Tag(tag.clone())))
            .fold(tombstone(&Subject::Key(key.clone())), Lsn::max);
        self.patterns.iter().fold(named, |newest, (pattern, lsn)| {
            if *lsn > newest && pattern.concerns(key, tags) { *lsn } else { newest }
        })
    }

    /// Drops the tombstones up to `upto` (never past W), raises the floor in their place, and returns the
    /// number dropped. The position decides, not the clock.
    pub fn collect(&mut self, upto: Lsn) -> usize {
        let upto = upto.min(self.watermark);
        let before = self.tombstones();
        self.tombstones.drop_to(upto);
        self.patterns.retain(|_, tombstone| *tombstone > upto);
        let dropped = before - self.tombstones();
        if dropped > 0 {
            self.raise_floor(upto);
        }
        dropped
    }

    /// Returns the position up to which tombstones must be [collected](Self::collect) so that at most `most`
    /// of them are left, not counting the few wildcards. `None` if there are no more than `most`.
    #[must_use]
    pub fn overflow(&self, most: usize) -> Option<Lsn> {
        let last = self.tombstones.len().checked_sub(most.saturating_add(1))?;
        let mut positions: Vec<Lsn> = self.tombstones.positions().collect();
        Some(*positions.select_nth_unstable(last).1)
    }

    /// Returns the tier's epoch, if it has one.
    #[must_use]
    pub fn epoch(&self) -> Option<Epoch> {
        self.epoch
    }

    /// States the mappings that the leader applies. Batches of leaders with other mappings are not applied any
    /// more.
    pub fn state_coverage(&mut self, coverage: CoverageDigest) {
        (self.coverage, self.mapped_from) = (coverage, self.applied);
    }

    /// Returns the mappings that the leader applies.
    #[must_use]
    pub fn coverage(&self) -> CoverageDigest {
        self.coverage
    }

    /// Returns A: every event up to here has been applied.
    #[must_use]
    pub fn applied(&self) -> Lsn {
        self.applied
    }

    /// Returns W: a read that begins now sees every commit up to here. W is the τ of a fill.
    #[must_use]
    pub fn watermark(&self) -> Lsn {
        self.watermark
    }

    /// Returns the floor: older reads can't be judged any more.
    #[must_use]
    pub fn floor(&self) -> Lsn {
        self.floor
    }

    /// Returns the number of tombstones, including those of wildcards.
    #[must_use]
    pub fn tombstones(&self) -> usize {
        self.tombstones.len() + self.patterns.len()
    }
}

#[cfg(test)]
#[path = "fence_repeat_tests.rs"]
mod repeat_tests;
#[cfg(test)]
#[path = "fence_tests.rs"]
mod tests;
