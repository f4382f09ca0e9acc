//! Proven absence without an entry: which keys there are at all.
//!
//! A [`Register`] holds the name of every key that may have a row, and so proves of every other key
//! that it has none. It is made by reading all keys once while every event is noted, and kept by
//! noting every event from then on. Names are only added: that a row was deleted makes the register
//! less useful, never wrong.
//!
//! **What callers owe:** an event names the key of every row that it inserts, or
//! [everything](Subject::Everything); and each piece of the log that its tier applies is
//! [followed](Register::follow) before anybody sees the tier's new position.
//!
//! **What the register gives in return:** a key of which it says [`absent`](Register::absent) had no
//! row at any position from the one that it names up to the one that it was asked for.
//!
//! Why: let `from` be the last position that was heard of before the reading began. The reading
//! began when W had reached it, so every part of it sees the commits up to `from`. A row that was
//! there at `from` and was not touched since is found by the part that reads its key; one that was
//! touched since is named by the event that did. That takes no common snapshot of the parts, so the
//! keys can be read page by page.

use contract::Key;

use crate::event::{Batch, Subject};
use crate::position::{Epoch, Lsn};
use crate::rules::{Rule, on};

/// A growing set that may claim to hold what was never added to it, but never misses what was.
pub trait Names {
    /// Adds a name.
    fn add(&mut self, key: &Key);

    /// Whether it may have been added; false: it has not.
    fn may_hold(&self, key: &Key) -> bool;
}

/// The keys of one kind that may have a row, as far as one tier knows.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Register<N> {
    place: Option<Place>,
    standing: Option<Listing<N>>,
    next: Option<Listing<N>>,
    /// Tells one reading from another.
    reading: Reading,
}

/// What was heard of the log, by a register or by somebody who will make one later.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Place {
    epoch: Epoch,
    /// Every event up to here was heard.
    upto: Lsn,
    /// No event after this was heard, not even in part: a large one comes in pieces, the first of
    /// which do not reach its position.
    heard: Lsn,
}

impl Place {
    /// Where `batch` leads to from `place`, and whether nothing was missed in between.
    #[must_use]
    pub fn after(place: Option<Self>, batch: &Batch) -> (Self, bool) {
        let chained = place.filter(|place| {
            (place.epoch == batch.epoch || !on(Rule::RegisterOfOwnHistory))
                && (batch.prev <= place.upto || !on(Rule::RegisterWithoutGap))
        });
        let upto = chained.map_or(batch.upto, |place| place.upto.max(batch.upto));
        let newest = batch.events.iter().map(|event| event.lsn).max().unwrap_or_default();
        let heard = chained.map_or(upto, |place| place.heard).max(newest);
        (Self { epoch: batch.epoch, upto, heard }, chained.is_some())
    }
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Listing<N> {
    /// Every event after this is noted.
    from: Lsn,
    /// No commit after this was seen by the reading; `None`: it is not over.
    seen: Option<Lsn>,
    names: N,
}

/// One reading of all keys.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Reading(u64);

impl<N> Default for Register<N> {
    /// One that has heard of nothing.
    fn default() -> Self {
        Self { place: None, standing: None, next: None, reading: Reading(0) }
    }
}

impl<N: Names> Register<N> {
    /// One that knows nothing, of somebody who has heard of the log up to `place`.
    #[must_use]
    pub fn at(place: Option<Place>) -> Self {
        Self { place, ..Self::default() }
    }

    /// Hears a piece of the log. `ours`: whether a key is of the register's kind. What can't be told
    /// to fit what was heard before, or says that anything may have changed, ends what the register
    /// knew.
    pub fn follow(&mut self, batch: &Batch, ours: impl Fn(&Key) -> bool) {
        let (place, chained) = Place::after(self.place, batch);
        if !chained {
            self.lose();
        }
        self.place = Some(place);
        for event in &batch.events {
            for subject in &event.subjects {
                for listing in [&mut self.standing, &mut self.next] {
                    note(listing, event.lsn, subject, &ours);
                }
            }
        }
        self.settle();
    }

    /// Something may have been missed: nothing is known any more.
    pub fn lose(&mut self) {
        *self = Self { reading: self.reading, ..Self::default() };
    }

    /// Begins to note events for a new list, in `names`; what stood goes on standing until the new
    /// one does. `None`: nothing was heard of the log yet.
    pub fn begin(&mut self, names: impl FnOnce() -> N) -> Option<Reading> {
        let place = self.place?;
        let from =
            if on(Rule::RegisterFromHeard) { place.upto.max(place.heard) } else { place.upto };
        self.reading.0 += 1;
        self.next = Some(Listing { from, seen: None, names: names() });
        Some(self.reading)
    }

    /// Whether keys may be read from the origin for the list: all snapshots from now on see every
    /// commit up to `watermark` of history `epoch`.
    #[must_use]
    pub fn may_read(&self, epoch: Epoch, watermark: Lsn) -> bool {
        let reaches = |next: &Listing<N>| watermark >= next.from;
        self.place.is_some_and(|place| place.epoch == epoch)
            && self
                .next
                .as_ref()
                .is_some_and(|next| reaches(next) || !on(Rule::RegisterReadsSettled))
    }

    /// Adds keys that were read. False: the reading is void, begin again.
    #[must_use]
    pub fn note<'a>(&mut self, reading: Reading, keys: impl IntoIterator<Item = &'a Key>) -> bool {
        let Some(next) = self.of(reading) else { return false };
        keys.into_iter().for_each(|key| next.names.add(key));
        true
    }

    /// All keys were read, by snapshots that showed no commit after `seen`. The list stands once its
    /// tier has got there. False: the reading is void, begin again.
    #[must_use]
    pub fn counted(&mut self, reading: Reading, seen: Lsn) -> bool {
        let Some(next) = self.of(reading) else { return false };
        next.seen = Some(seen);
        self.settle();
        true
    }

    /// Whether a reading is still of use: it is being noted for, or stands.
    #[must_use]
    pub fn is_under_way(&self, reading: Reading) -> bool {
        self.reading == reading && self.next.is_some()
    }

    fn of(&mut self, reading: Reading) -> Option<&mut Listing<N>> {
        if self.reading == reading { self.next.as_mut() } else { None }
    }

    /// Gives up the list that is being made.
    pub fn give_up(&mut self) {
        self.next = None;
    }

    fn settle(&mut self) {
        let upto = self.place.map(|place| place.upto);
        let reached = |next: &Listing<N>| {
            next.seen.is_some_and(|seen| Some(seen) <= upto || !on(Rule::RegisterWaitsForSeen))
        };
        if self.next.as_ref().is_some_and(reached) {
            self.standing = self.next.take();
        }
    }

    /// Whether `key` is known to have no row: from which position on, up to `applied`, where its tier
    /// of history `epoch` stands.
    #[must_use]
    pub fn absent(&self, epoch: Epoch, applied: Lsn, key: &Key) -> Option<Lsn> {
        let place = self.place.filter(|place| place.epoch == epoch && applied <= place.upto)?;
        let standing = self.standing.as_ref()?;
        // A tier that was told of less than this register stands before what the reading saw.
        let reached = standing.seen.is_some_and(|seen| seen <= applied.min(place.upto));
        let reached = reached || !on(Rule::RegisterWaitsForSeen);
        (reached && !standing.names.may_hold(key)).then_some(standing.from)
    }

    /// The names that stand.
    #[must_use]
    pub fn standing(&self) -> Option<&N> {
        self.standing.as_ref().map(|standing| &standing.names)
    }

    /// The names of the list that is being made.
    #[must_use]
    pub fn next(&self) -> Option<&N> {
        self.next.as_ref().map(|next| &next.names)
    }
}

/// What an event at `lsn` about `subject` does to a list.
fn note<N: Names>(
    listing: &mut Option<Listing<N>>,
    lsn: Lsn,
    subject: &Subject,
    ours: impl Fn(&Key) -> bool,
) {
    // What was heard before the reading began is seen by it.
    let Some(listed) = listing.as_mut().filter(|listing| lsn > listing.from) else { return };
    match subject {
        Subject::Key(key) if ours(key) && on(Rule::RegisterNotesKeys) => listed.names.add(key),
        // A wildcard is somebody's order to ask anew.
        Subject::Everything | Subject::KeysLike(_) if on(Rule::RegisterEndsWithEverything) => {
            *listing = None;
        }
        _ => {}
    }
}

#[cfg(test)]
#[path = "absence_tests.rs"]
mod tests;
