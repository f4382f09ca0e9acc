//! Proven absence without an entry: a filter of the keys that may have a row.
//!
//! A [`KeyFilter`] contains every key that may have a row, and so proves of every other key that it has
//! none. It is built by one scan of all keys while every event is recorded, and maintained by recording
//! every later event. Keys are only added: a deleted row makes the filter less useful, never wrong.
//!
//! **Callers must ensure** that an event names the key of every row that it inserts, or
//! [everything](Subject::Everything); and that the filter [follows](KeyFilter::follow) each piece of the
//! log that its tier applies before the tier's new position is visible to readers.
//!
//! **The filter then guarantees** that a key which it reports as [`absent`](KeyFilter::absent) had no row
//! at any position from the returned one up to the requested one.
//!
//! Reason: let `from` be the last position that was received before the scan began. The scan begins
//! when W has reached `from`, so each of its pages includes the commits up to `from`. A row that existed
//! at `from` and was not changed since is found by the page that covers its key; a row that was changed
//! since is named by the event of that change. The pages need no common snapshot, so the scan can read
//! page by page.

use contract::Key;

use crate::event::{Batch, Subject};
use crate::position::{Epoch, Lsn};
use crate::rules::{Rule, on};

/// A growing set of keys that may have false positives, but no false negatives.
pub trait KeySet {
    /// Adds a key.
    fn insert(&mut self, key: &Key);

    /// Returns whether the key may have been added; false is certain.
    fn may_contain(&self, key: &Key) -> bool;
}

/// The keys of one kind that may have a row, as far as one tier knows.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct KeyFilter<S> {
    position: Option<FilterPosition>,
    current: Option<ScannedSet<S>>,
    next: Option<ScannedSet<S>>,
    /// The last scan that was begun.
    scan: ScanId,
}

/// The part of the log that was received, by a filter or by the tier that will create one.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct FilterPosition {
    epoch: Epoch,
    /// Every event up to here was received.
    upto: Lsn,
    /// No event after this was received, not even in part: a large event arrives in pieces, the first of
    /// which do not reach its position.
    newest: Lsn,
}

impl FilterPosition {
    /// Returns the position after `batch`, and whether nothing was missed since `position`.
    #[must_use]
    pub fn after(position: Option<Self>, batch: &Batch) -> (Self, bool) {
        let continued = position.filter(|position| {
            (position.epoch == batch.epoch || !on(Rule::KeyFilterOfOwnEpoch))
                && (batch.prev <= position.upto || !on(Rule::KeyFilterWithoutGap))
        });
        let upto = continued.map_or(batch.upto, |position| position.upto.max(batch.upto));
        let newest = batch.events.iter().map(|event| event.lsn).max().unwrap_or_default();
        let newest = continued.map_or(upto, |position| position.newest).max(newest);
        (Self { epoch: batch.epoch, upto, newest }, continued.is_some())
    }
}

/// The keys of one scan and of all events since.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct ScannedSet<S> {
    /// Every event after this is recorded.
    from: Lsn,
    /// The scan saw no commit after this; `None` while the scan runs.
    seen: Option<Lsn>,
    keys: S,
}

/// Identifies one scan of all keys.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct ScanId(u64);

impl<S> Default for KeyFilter<S> {
    /// Returns a filter that has received nothing.
    fn default() -> Self {
        Self { position: None, current: None, next: None, scan: ScanId(0) }
    }
}

impl<S: KeySet> KeyFilter<S> {
    /// Returns an empty filter of a tier that has received the log up to `position`.
    #[must_use]
    pub fn at(position: Option<FilterPosition>) -> Self {
        Self { position, ..Self::default() }
    }

    /// Records a piece of the log. `is_own` returns whether a key is of the filter's kind. A batch that
    /// does not continue the last one, or an event that may have changed any key, clears the filter.
    pub fn follow(&mut self, batch: &Batch, is_own: impl Fn(&Key) -> bool) {
        let (position, continued) = FilterPosition::after(self.position, batch);
        if !continued {
            self.clear();
        }
        self.position = Some(position);
        for event in &batch.events {
            for subject in &event.subjects {
                for set in [&mut self.current, &mut self.next] {
                    record(set, event.lsn, subject, &is_own);
                }
            }
        }
        self.promote_if_reached();
    }

    /// Drops everything: an event may have been missed.
    pub fn clear(&mut self) {
        *self = Self { scan: self.scan, ..Self::default() };
    }

    /// Begins to record events for a new scan into `keys`. The current set answers until the new one
    /// takes its place. `None` if no part of the log was received yet.
    pub fn begin_scan(&mut self, keys: impl FnOnce() -> S) -> Option<ScanId> {
        let position = self.position?;
        let from = if on(Rule::KeyFilterFromReceived) {
            position.upto.max(position.newest)
        } else {
            position.upto
        };
        self.scan.0 += 1;
        self.next = Some(ScannedSet { from, seen: None, keys: keys() });
        Some(self.scan)
    }

    /// Returns whether the scan may read keys from the origin: all snapshots from now on show every
    /// commit up to `watermark` of `epoch`.
    #[must_use]
    pub fn may_scan(&self, epoch: Epoch, watermark: Lsn) -> bool {
        let reaches = |next: &ScannedSet<S>| watermark >= next.from;
        self.position.is_some_and(|position| position.epoch == epoch)
            && self
                .next
                .as_ref()
                .is_some_and(|next| reaches(next) || !on(Rule::KeyFilterScansVisible))
    }

    /// Adds keys that the scan has read. False: the scan is void and must begin again.
    #[must_use]
    pub fn add_scanned<'a>(
        &mut self,
        scan: ScanId,
        keys: impl IntoIterator<Item = &'a Key>,
    ) -> bool {
        let Some(next) = self.scanning(scan) else { return false };
        keys.into_iter().for_each(|key| next.keys.insert(key));
        true
    }

    /// Ends the scan; its snapshots showed no commit after `seen`. The new set takes effect when its tier
    /// has reached `seen`. False: the scan is void and must begin again.
    #[must_use]
    pub fn finish_scan(&mut self, scan: ScanId, seen: Lsn) -> bool {
        let Some(next) = self.scanning(scan) else { return false };
        next.seen = Some(seen);
        self.promote_if_reached();
        true
    }

    /// Returns whether the scan still runs, or waits for its tier.
    #[must_use]
    pub fn is_scanning(&self, scan: ScanId) -> bool {
        self.scan == scan && self.next.is_some()
    }

    fn scanning(&mut self, scan: ScanId) -> Option<&mut ScannedSet<S>> {
        if self.scan == scan { self.next.as_mut() } else { None }
    }

    /// Cancels the scan.
    pub fn cancel_scan(&mut self) {
        self.next = None;
    }

    fn promote_if_reached(&mut self) {
        let upto = self.position.map(|position| position.upto);
        let reached = |next: &ScannedSet<S>| {
            next.seen.is_some_and(|seen| Some(seen) <= upto || !on(Rule::KeyFilterWaitsForScan))
        };
        if self.next.as_ref().is_some_and(reached) {
            self.current = self.next.take();
        }
    }

    /// Returns the position from which on `key` is known to have no row, up to `applied`, the position of
    /// the tier in `epoch`. `None` if the key may have a row.
    #[must_use]
    pub fn absent(&self, epoch: Epoch, applied: Lsn, key: &Key) -> Option<Lsn> {
        let position =
            self.position.filter(|position| position.epoch == epoch && applied <= position.upto)?;
        let current = self.current.as_ref()?;
        // A tier may be behind its filter, and so behind the commits that the scan saw.
        let reached = current.seen.is_some_and(|seen| seen <= applied.min(position.upto));
        let reached = reached || !on(Rule::KeyFilterWaitsForScan);
        (reached && !current.keys.may_contain(key)).then_some(current.from)
    }

    /// Returns the set that answers.
    #[must_use]
    pub fn current(&self) -> Option<&S> {
        self.current.as_ref().map(|current| &current.keys)
    }

    /// Returns the set that the running scan fills.
    #[must_use]
    pub fn next(&self) -> Option<&S> {
        self.next.as_ref().map(|next| &next.keys)
    }
}

/// Records an event at `lsn` about `subject` in a set.
fn record<S: KeySet>(
    set: &mut Option<ScannedSet<S>>,
    lsn: Lsn,
    subject: &Subject,
    is_own: impl Fn(&Key) -> bool,
) {
    // The scan sees every event that was received before it began.
    let Some(scanned) = set.as_mut().filter(|set| lsn > set.from) else { return };
    match subject {
        Subject::Key(key) if is_own(key) && on(Rule::KeyFilterAddsKeys) => {
            scanned.keys.insert(key);
        }
        // A wildcard is a request to load everything again.
        Subject::Everything | Subject::KeysLike(_) if on(Rule::KeyFilterClearedByEverything) => {
            *set = None;
        }
        _ => {}
    }
}

#[cfg(test)]
#[path = "key_filter_tests.rs"]
mod tests;
