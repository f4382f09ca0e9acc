//! The fence: no value that misses an applied change is stored, and none stays.
//!
//! **Invariant (I)** that callers owe: a fill carries τ such that every relevant commit with an
//! end position ≤ τ is visible to *all* snapshots the fill used.
//!
//! **What the fence gives in return:** once an event (e, k) was applied, no entry under k with
//! τ < e stands, in any interleaving of fills, events, repeats and collections.

use std::collections::BTreeMap;

use contract::{Key, Tag};
use thiserror::Error;

use crate::event::{Batch, Event, Subject};
use crate::position::{Epoch, Lsn};
use crate::rules::{Rule, on};
use crate::soft::may_mark;

/// What one tier (or one shard of it) remembers about invalidations.
///
/// A `BTreeMap` rather than a hash map: iteration has one order, so a simulation replays to the
/// byte, and the model checker can hash the state.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Fence {
    epoch: Option<Epoch>,
    applied: Lsn,
    watermark: Lsn,
    floor: Lsn,
    /// The newest event that has to [remove](crate::soft::may_mark).
    hard: Lsn,
    tombstones: BTreeMap<Subject, Lsn>,
    /// The same for wildcards, which are looked through one by one: at most
    /// [`PATTERNS_MAX`](Fence::PATTERNS_MAX).
    patterns: BTreeMap<Subject, Lsn>,
}

/// A value that wants to be stored.
#[derive(Clone, Copy, Debug)]
pub struct Offer<'a> {
    /// Under which key.
    pub key: &'a Key,
    /// Its tags; an event for any of them concerns it.
    pub tags: &'a [Tag],
    /// τ, see invariant (I).
    pub tau: Lsn,
    /// The tier's epoch as the filler knew it before it read the origin.
    pub epoch: Epoch,
    /// τ of the entry that is stored under the key now.
    pub stored: Option<Lsn>,
}

/// Whether a fill may be stored. A refused fill still answers its caller.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Verdict {
    /// Store it.
    Accept,
    /// Do not, because.
    Refuse(Refusal),
}

/// Why a fill is not stored.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Refusal {
    /// The tier has no epoch (never set up, or flushed): nothing can be proven here yet.
    Unproven,
    /// It was read under another epoch.
    Epoch,
    /// An invalidation of its key or tag is newer than the read.
    Tombstone,
    /// Tombstones this old were collected, so nobody can say.
    Floor,
    /// The stored value is from a later read.
    Older,
    /// The lease it was loaded under belongs to somebody else by now.
    Lease,
}

impl Refusal {
    /// The name used in metrics and logs.
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

    /// Reads the name back.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Unproven, Self::Epoch, Self::Tombstone, Self::Floor, Self::Older, Self::Lease]
            .into_iter()
            .find(|refusal| refusal.as_str() == name)
    }
}

/// A batch that this tier can't take: it has missed something.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Gap {
    /// The tier has no epoch: it was flushed, or is new.
    #[error("the tier holds no epoch: it is new or was flushed")]
    Unproven,
    /// The batch belongs to another history.
    #[error("the tier's epoch is {tier}")]
    Epoch {
        /// The tier's own epoch.
        tier: Epoch,
    },
    /// The tier stands before the batch's beginning: events in between are missing.
    #[error("the tier has applied {applied} only, the batch begins at {prev}")]
    Missing {
        /// Where the tier stands.
        applied: Lsn,
        /// Where the batch begins.
        prev: Lsn,
    },
}

/// What [`Fence::follow`] did.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Followed {
    /// Applied.
    Whole,
    /// Something was missing before it; nothing was done.
    Missed(Gap),
    /// Something was missing before it; the tier begins anew at its end.
    Restarted(Gap),
}

impl Fence {
    /// As many wildcards are kept apart. When more come within the life of a tombstone, the floor
    /// takes the place of the oldest: then everything falls that was read before those.
    pub const PATTERNS_MAX: usize = 32;

    /// Starts a new history: everything older is unproven, reads that began before `at` may not
    /// fill. The caller drops the entries.
    pub fn incarnate(&mut self, epoch: Epoch, at: Lsn, watermark: Lsn) {
        self.epoch = Some(epoch);
        self.applied = at;
        self.floor = if on(Rule::BeginningRaisesFloor) { at } else { Lsn::ZERO };
        self.watermark = watermark;
        self.hard = at;
        self.tombstones.clear();
        self.patterns.clear();
    }

    /// Applies a batch: raises tombstones and moves A and W forward. Repeats are harmless.
    ///
    /// The caller removes the entries that no longer [stand](Self::stands) before it lets anybody
    /// see the new [`applied`](Self::applied) position.
    ///
    /// # Errors
    /// [`Gap`]: nothing was applied; the tier needs a new incarnation.
    pub fn apply(&mut self, batch: &Batch) -> Result<(), Gap> {
        let epoch = self.epoch.ok_or(Gap::Unproven)?;
        if on(Rule::BatchOfOwnHistory) && epoch != batch.epoch {
            return Err(Gap::Epoch { tier: epoch });
        }
        if on(Rule::BatchWithoutGap) && self.applied < batch.prev {
            return Err(Gap::Missing { applied: self.applied, prev: batch.prev });
        }
        for event in &batch.events {
            self.raise(event);
        }
        self.make_room();
        self.applied = self.applied.max(batch.upto);
        self.watermark = self.watermark.max(batch.watermark);
        Ok(())
    }

    /// Applies a batch on a tier that can't ask for what it missed (an in-process one).
    ///
    /// `in_order`: the batch came by the node stream, so that a gap before it will not be filled by
    /// anything to come, and a history other than ours is a later one. After
    /// [`Followed::Restarted`] the caller drops all entries: a tier without entries misses nothing
    /// at the batch's end.
    pub fn follow(&mut self, batch: &Batch, in_order: bool) -> Followed {
        match self.apply(batch) {
            Ok(()) => Followed::Whole,
            Err(gap) if in_order => {
                self.restart(batch);
                Followed::Restarted(gap)
            }
            Err(gap) => Followed::Missed(gap),
        }
    }

    /// Begins a new history at the end of a batch that can't be applied. The marks of a large commit,
    /// whose parts come in several batches, may reach beyond that end: they stay.
    pub fn restart(&mut self, batch: &Batch) {
        self.incarnate(batch.epoch, batch.upto, batch.watermark);
        let beyond = batch.events.iter().filter(|event| event.lsn > batch.upto);
        beyond.for_each(|event| self.raise(event));
    }

    fn raise(&mut self, event: &Event) {
        if !may_mark(event) {
            self.hard = self.hard.max(event.lsn);
        }
        for subject in &event.subjects {
            let rule = match subject {
                Subject::Key(_) => Rule::MarkKeys,
                Subject::Tag(_) => Rule::MarkTags,
                Subject::KeysLike(_) | Subject::TagsLike(_) => Rule::MarkPatterns,
                Subject::Everything => Rule::MarkEverything,
            };
            if !on(rule) {
                continue;
            }
            if *subject == Subject::Everything {
                self.floor = self.floor.max(event.lsn);
                continue;
            }
            let marks =
                if subject.is_pattern() { &mut self.patterns } else { &mut self.tombstones };
            let mark = marks.entry(subject.clone()).or_default();
            if on(Rule::MarksNeverFall) {
                *mark = event.lsn.max(*mark);
            } else {
                *mark = event.lsn;
            }
        }
    }

    /// Lets the oldest wildcards go if there are too many.
    fn make_room(&mut self) {
        let Some(over) = self.patterns.len().checked_sub(Self::PATTERNS_MAX + 1) else { return };
        let mut marks: Vec<Lsn> = self.patterns.values().copied().collect();
        marks.sort_unstable();
        let upto = marks[over];
        self.patterns.retain(|_, mark| *mark > upto);
        self.stand_in(upto);
    }

    /// The floor takes the place of marks up to `upto`.
    fn stand_in(&mut self, upto: Lsn) {
        if on(Rule::CollectionRaisesFloor) {
            self.floor = self.floor.max(upto);
        }
    }

    /// The fill rule.
    #[must_use]
    pub fn admit(&self, offer: Offer<'_>) -> Verdict {
        let Some(epoch) = self.epoch else {
            return Verdict::Refuse(Refusal::Unproven);
        };
        if on(Rule::FillOfOwnHistory) && epoch != offer.epoch {
            return Verdict::Refuse(Refusal::Epoch);
        }
        if on(Rule::FillAboveFloor) && offer.tau < self.floor {
            return Verdict::Refuse(Refusal::Floor);
        }
        let newest = self.newest_tombstone(offer.key, offer.tags);
        if on(Rule::FillAboveMarks) && offer.tau < newest {
            return Verdict::Refuse(Refusal::Tombstone);
        }
        let older = offer.stored.is_some_and(|stored| offer.tau < stored);
        if on(Rule::FillNotOlder) && older {
            return Verdict::Refuse(Refusal::Older);
        }
        Verdict::Accept
    }

    /// For a fill that [`admit`](Self::admit) refuses because a commit in between has made it old: the
    /// first position that may be missing in it, if it may be stored [marked](crate::soft). `stored`
    /// is τ of what is there now.
    ///
    /// A mark of a key does not say which commits raised it, so all after τ count as missing; and
    /// after anything that has to remove, nothing that began before it is stored.
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

    /// Whether an entry stored in this epoch with token `tau` still stands.
    #[must_use]
    pub fn stands(&self, key: &Key, tags: &[Tag], tau: Lsn) -> bool {
        (tau >= self.floor || !on(Rule::ReadAboveFloor))
            && (tau >= self.newest_tombstone(key, tags) || !on(Rule::ReadAboveMarks))
    }

    /// The token that an entry stored in this epoch with `tau` has earned by standing: it misses
    /// nothing that has been applied. `None`: it does not stand.
    ///
    /// An entry that lives on needs it, since tombstones older than any usual life are
    /// [collected](Self::collect), and the floor that takes their place fells what is older.
    #[must_use]
    pub fn confirm(&self, key: &Key, tags: &[Tag], tau: Lsn) -> Option<Lsn> {
        self.stands(key, tags, tau).then(|| tau.max(self.applied))
    }

    /// Whether this tier knows that an entry which stands in another one, that has applied `applied`
    /// under `epoch`, is old nevertheless: the other tier came back from older data, or lags. Of
    /// another log it knows nothing.
    #[must_use]
    pub fn outdates(&self, key: &Key, tags: &[Tag], epoch: Epoch, applied: Lsn) -> bool {
        let same_log = self.epoch.is_some_and(|own| own.log() == epoch.log());
        same_log && !self.stands(key, tags, applied)
    }

    fn newest_tombstone(&self, key: &Key, tags: &[Tag]) -> Lsn {
        let mark = |subject: &Subject| self.tombstones.get(subject).copied().unwrap_or_default();
        let named = tags
            .iter()
            .map(|tag| mark(&Subject::Tag(tag.clone())))
            .fold(mark(&Subject::Key(key.clone())), Lsn::max);
        self.patterns.iter().fold(named, |newest, (pattern, mark)| {
            if *mark > newest && pattern.concerns(key, tags) { *mark } else { newest }
        })
    }

    /// Drops the tombstones up to `upto` (never past W) and raises the floor in their place:
    /// collected by floor, not by clock. Answers how many were dropped.
    pub fn collect(&mut self, upto: Lsn) -> usize {
        let upto = upto.min(self.watermark);
        let before = self.tombstones();
        self.tombstones.retain(|_, mark| *mark > upto);
        self.patterns.retain(|_, mark| *mark > upto);
        let dropped = before - self.tombstones();
        if dropped > 0 {
            self.stand_in(upto);
        }
        dropped
    }

    /// The position up to which tombstones have to be [collected](Self::collect) so that at most `most`
    /// of them are left (wildcards, which are few, aside); `None`: no more are there.
    #[must_use]
    pub fn crowded(&self, most: usize) -> Option<Lsn> {
        let last = self.tombstones.len().checked_sub(most.saturating_add(1))?;
        let mut marks: Vec<Lsn> = self.tombstones.values().copied().collect();
        Some(*marks.select_nth_unstable(last).1)
    }

    /// The history this tier belongs to, if it has one.
    #[must_use]
    pub fn epoch(&self) -> Option<Epoch> {
        self.epoch
    }

    /// A: every event up to here has been applied.
    #[must_use]
    pub fn applied(&self) -> Lsn {
        self.applied
    }

    /// W: a read that begins now sees every commit up to here; the τ to give to a fill.
    #[must_use]
    pub fn watermark(&self) -> Lsn {
        self.watermark
    }

    /// F: reads older than this can't be judged any more.
    #[must_use]
    pub fn floor(&self) -> Lsn {
        self.floor
    }

    /// How many tombstones are kept, those of wildcards among them.
    #[must_use]
    pub fn tombstones(&self) -> usize {
        self.tombstones.len() + self.patterns.len()
    }
}

#[cfg(test)]
#[path = "fence_tests.rs"]
mod tests;
