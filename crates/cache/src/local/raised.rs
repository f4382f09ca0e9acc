//! The invalidations that are in force before their entries are removed, as readers see them
//! ([`coherence::generation`]).
//!
//! Readers find out in two steps. Each entry has a stamp: the number of raises at which it was stored, or last
//! found current. While there was no raise since then, which is one comparison, the entry is current.
//! Otherwise the reader compares it with the generations of its tags and with the wildcards of the last
//! seconds, and then stamps it again.

use std::sync::atomic::{AtomicU64, Ordering};

use coherence::generation::is_dropped;
use coherence::{Generation, Raise, Subject};
use parking_lot::RwLock;

use super::entry::LocalEntry;

/// The number of wildcards in force at once. When there are more, everything older is removed.
const MAX_WILDCARDS: usize = 32;

/// An invalidation of all entries that a wildcard names. In force until a pass over the store has settled them.
#[derive(Debug)]
struct Wildcard {
    subject: Subject,
    /// `None`: an eviction, which has no position.
    raise: Option<Raise>,
    /// Entries with this stamp, or a later one, were stored after it.
    stamp: u64,
}

impl Wildcard {
    fn concerns(&self, entry: &LocalEntry) -> bool {
        entry.stamp() < self.stamp && entry.is_named_by(&self.subject)
    }
}

/// The raises of one tier. All changes are made under the tier's mutex.
#[derive(Debug, Default)]
pub(super) struct Raised {
    /// The number of raises that readers have to know of.
    stamp: AtomicU64,
    /// The stamp of the last drop of all entries.
    dropped: AtomicU64,
    /// The stamp of the last wildcard.
    last_wildcard: AtomicU64,
    wildcards: RwLock<Vec<Wildcard>>,
}

impl Raised {
    /// Returns the stamp of an entry that is stored now.
    pub(super) fn stamp(&self) -> u64 {
        self.stamp.load(Ordering::Acquire)
    }

    /// Returns whether nothing was raised since the entry was found current.
    #[inline]
    pub(super) fn is_unchanged(&self, entry: &LocalEntry) -> bool {
        entry.stamp() >= self.stamp.load(Ordering::Acquire)
    }

    /// Returns whether no raise in force has made the entry old.
    pub(super) fn is_current(&self, entry: &LocalEntry) -> bool {
        if self.is_unchanged(entry) {
            return true;
        }
        // Read before the raises: a later one is for the next check.
        let stamp = self.stamp();
        let is_old =
            self.is_evicted(entry) || self.generation(entry).outdates(entry.tau, entry.is_soft());
        if !is_old {
            entry.set_stamp(stamp);
        }
        !is_old
    }

    /// Returns whether the entry was dropped with all others.
    pub(super) fn is_dropped(&self, entry: &LocalEntry) -> bool {
        is_dropped(entry.stamp(), self.dropped.load(Ordering::Acquire))
    }

    /// Returns whether the entry was dropped, or evicted by a tag or wildcard.
    pub(super) fn is_evicted(&self, entry: &LocalEntry) -> bool {
        let by_wildcard = || {
            self.any_wildcard(entry, |wildcard| {
                wildcard.raise.is_none() && wildcard.concerns(entry)
            })
        };
        self.is_dropped(entry)
            || entry.cells().iter().any(|cell| cell.is_evicted(entry.stamp()))
            || by_wildcard()
    }

    /// Returns whether nothing is left of an entry that is not [current](Self::is_current), not even a soft-stale
    /// one.
    pub(super) fn is_removed(&self, entry: &LocalEntry) -> bool {
        entry.is_soft() || self.is_evicted(entry) || entry.tau < self.generation(entry).hard
    }

    /// Returns the newest raises that concern the entry.
    pub(super) fn generation(&self, entry: &LocalEntry) -> Generation {
        let mut generation = Generation::default();
        for cell in entry.cells() {
            generation = generation.merged(cell.generation());
        }
        self.any_wildcard(entry, |wildcard| {
            if let Some(raise) = wildcard.raise.filter(|_| wildcard.concerns(entry)) {
                generation = generation.raised(raise);
            }
            false
        });
        generation
    }

    /// Returns the events of wildcards that concern the entry.
    pub(super) fn wildcard_raises(&self, entry: &LocalEntry) -> Vec<Raise> {
        let mut raises = Vec::new();
        self.any_wildcard(entry, |wildcard| {
            raises.extend(wildcard.raise.filter(|_| wildcard.concerns(entry)));
            false
        });
        raises
    }

    fn any_wildcard(&self, entry: &LocalEntry, test: impl FnMut(&Wildcard) -> bool) -> bool {
        // Without this test each check would take the lock.
        entry.stamp() < self.last_wildcard.load(Ordering::Acquire)
            && self.wildcards.read().iter().any(test)
    }

    /// Puts a wildcard in force, and makes it known to readers.
    pub(super) fn raise_wildcard(&self, subject: Subject, raise: Option<Raise>) {
        let stamp = self.stamp() + 1;
        let mut wildcards = self.wildcards.write();
        if wildcards.len() >= MAX_WILDCARDS {
            collapse(&mut wildcards, stamp);
        }
        wildcards.push(Wildcard { subject, raise, stamp });
        drop(wildcards);
        self.last_wildcard.store(stamp, Ordering::Release);
        self.publish();
    }

    /// Forgets the wildcards up to this stamp: every entry that they concern was settled.
    pub(super) fn forget_wildcards(&self, upto: u64) {
        self.wildcards.write().retain(|wildcard| wildcard.stamp > upto);
    }

    /// Returns the number of wildcards in force.
    #[cfg(test)]
    pub(super) fn wildcards(&self) -> usize {
        self.wildcards.read().len()
    }

    /// Makes the raises of tags so far known to readers.
    pub(super) fn publish(&self) {
        self.stamp.fetch_add(1, Ordering::AcqRel);
    }

    /// Drops all entries. The wildcards need not concern them any more.
    pub(super) fn drop_all(&self) {
        self.dropped.store(self.stamp() + 1, Ordering::Release);
        self.publish();
        self.wildcards.write().clear();
    }
}

/// Replaces the wildcards by ones about everything.
fn collapse(wildcards: &mut Vec<Wildcard>, stamp: u64) {
    let newest =
        wildcards.iter().filter_map(|wildcard| wildcard.raise).map(|raise| raise.lsn).max();
    let hard = newest.map(|lsn| Raise { lsn, is_soft: false, as_of: None });
    let has_evictions = wildcards.iter().any(|wildcard| wildcard.raise.is_none());
    wildcards.clear();
    let everything = |raise| Wildcard { subject: Subject::Everything, raise, stamp };
    wildcards.extend(hard.map(|raise| everything(Some(raise))));
    wildcards.extend(has_evictions.then(|| everything(None)));
}
