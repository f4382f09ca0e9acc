//! Soft invalidation: an entry that a commit has made old may stay, soft-stale, as long as the proof
//! shown for it is true.
//!
//! The proof of a soft-stale entry has ended. The entry still holds every commit up to the position
//! before the first one that it misses. So it is proven as of the time for which that position was
//! proven, or as of the start of its own load, and no later. The bound of its answers grows by itself,
//! and the contract's budget limits it as for any other answer. The [governor](crate::governor)
//! decides how much of the budget may be spent.

use crate::clock::Mono;
use crate::event::{Cause, Event, Subject};
use crate::position::Lsn;
use crate::rules::{Rule, on};

/// The end of a soft-stale entry's proof.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct SoftStale {
    /// The first position that the entry may miss.
    pub missed: Lsn,
    /// Every commit acknowledged before this time is in the entry.
    pub as_of: Mono,
}

impl SoftStale {
    /// Returns the position up to which every relevant commit is in the entry.
    #[must_use]
    pub fn reaches(self) -> Lsn {
        Lsn(self.missed.0.saturating_sub(1))
    }
}

/// The state of a stored entry, for [`invalidate`].
#[derive(Clone, Copy, Debug)]
pub struct EntryState {
    /// The entry's τ.
    pub tau: Lsn,
    /// The start of its load, if that is proof (this process loaded it).
    pub loaded: Option<Mono>,
    /// Set if the entry is soft-stale already.
    pub soft_stale: Option<SoftStale>,
    /// Whether the entry's contract has a budget to spend.
    pub lenient: bool,
}

/// The effect of an event on an entry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Invalidation {
    /// None: the entry includes the event, or is soft-stale because of it.
    Unaffected,
    /// The entry is soft-stale already and stays as it is: the invalidation is merged with an earlier
    /// one.
    Merge,
    /// The entry becomes soft-stale.
    SoftStale(SoftStale),
    /// The entry is removed.
    Remove,
}

/// Returns whether an event may leave entries soft-stale: a commit that names its subjects. Purge
/// requests, deletions and events about everything (TRUNCATE) remove entries.
#[must_use]
pub fn is_soft(event: &Event) -> bool {
    event.cause == Cause::Commit && !event.subjects.contains(&Subject::Everything)
}

/// An event as the entries under its subjects see it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Raise {
    /// The event's position.
    pub lsn: Lsn,
    /// Whether it [may leave entries soft-stale](is_soft).
    pub is_soft: bool,
    /// The time as of which an entry is proven that lacks this event and no earlier one.
    pub as_of: Option<Mono>,
}

impl Raise {
    /// Creates the raise of an event. `proven` returns the time as of which a tier that has applied a given
    /// position is proven ([`Bound::proven_of`](crate::Bound::proven_of)).
    #[must_use]
    pub fn new(event: &Event, proven: impl FnOnce(Lsn) -> Option<Mono>) -> Self {
        let lsn = event.lsn;
        let before = if on(Rule::SoftStaleStopsBefore) { lsn.0.saturating_sub(1) } else { lsn.0 };
        let is_soft = is_soft(event);
        Self { lsn, is_soft, as_of: if is_soft { proven(Lsn(before)) } else { None } }
    }
}

/// Returns the effect of an event on an entry that it concerns.
///
/// The entry must either stand in its tier, that is, include every commit that the tier has applied
/// before this event, or be soft-stale.
#[must_use]
pub fn invalidate(raise: Raise, entry: EntryState) -> Invalidation {
    if entry.tau >= raise.lsn {
        return Invalidation::Unaffected;
    }
    if !entry.lenient || !raise.is_soft {
        return Invalidation::Remove;
    }
    if entry.soft_stale.is_some_and(|stale| stale.missed == raise.lsn) {
        return Invalidation::Unaffected;
    }
    if entry.soft_stale.is_some() && on(Rule::SoftStaleKeepsFirst) {
        return Invalidation::Merge;
    }
    match raise.as_of.max(entry.loaded) {
        Some(as_of) => Invalidation::SoftStale(SoftStale { missed: raise.lsn, as_of }),
        None => Invalidation::Remove,
    }
}

#[cfg(test)]
mod tests {
    use contract::Key;

    use super::*;

    fn event(lsn: u64, cause: Cause) -> Event {
        let key = Key::parse("v1:catalog:price:1").expect("a key");
        let subjects = vec![Subject::Key(key)];
        Event { lsn: Lsn(lsn), cause, committed_us: 0, subjects, renewals: Vec::new() }
    }

    fn raise(lsn: u64, cause: Cause, proven: Option<Mono>) -> Raise {
        Raise::new(&event(lsn, cause), |_| proven)
    }

    const ENTRY: EntryState =
        EntryState { tau: Lsn(5), loaded: None, soft_stale: None, lenient: true };

    #[test]
    fn proof_stops_before_first_missed_commit() {
        let first = Raise::new(&event(9, Cause::Commit), |upto| {
            assert_eq!(upto, Lsn(8), "commit 9 is not in the entry");
            Some(Mono(100))
        });
        let first = invalidate(first, ENTRY);
        let stale = SoftStale { missed: Lsn(9), as_of: Mono(100) };
        assert_eq!(first, Invalidation::SoftStale(stale));
        assert_eq!(stale.reaches(), Lsn(8));
        let entry = EntryState { soft_stale: Some(stale), ..ENTRY };
        let later = invalidate(raise(12, Cause::Commit, Some(Mono(900))), entry);
        assert_eq!(later, Invalidation::Merge, "a later commit makes the entry no fresher");
        let older = invalidate(raise(5, Cause::Commit, None), ENTRY);
        assert_eq!(older, Invalidation::Unaffected);
    }

    #[test]
    fn own_load_proves_as_of_its_start() {
        let own = EntryState { loaded: Some(Mono(70)), ..ENTRY };
        let as_of = |proven| match invalidate(raise(9, Cause::Commit, proven), own) {
            Invalidation::SoftStale(stale) => stale.as_of,
            other => panic!("{other:?}"),
        };
        assert_eq!(as_of(None), Mono(70));
        assert_eq!(as_of(Some(Mono(90))), Mono(90));
    }

    #[test]
    fn hard_or_unprovable_invalidation_removes() {
        let removed = |event: &Event, entry| {
            invalidate(Raise::new(event, |_| Some(Mono(1))), entry) == Invalidation::Remove
        };
        assert!(removed(&event(9, Cause::Purge), ENTRY));
        assert!(removed(&event(9, Cause::Application), ENTRY));
        assert!(removed(&event(9, Cause::Delete), ENTRY));
        let stale = Some(SoftStale { missed: Lsn(6), as_of: Mono(1) });
        let soft_stale = EntryState { soft_stale: stale, ..ENTRY };
        assert!(removed(&event(9, Cause::Purge), soft_stale), "a purge removes soft-stale entries");
        assert!(removed(&event(9, Cause::Commit), EntryState { lenient: false, ..ENTRY }));
        let all = Event { subjects: vec![Subject::Everything], ..event(9, Cause::Commit) };
        assert!(removed(&all, ENTRY), "TRUNCATE");
        let unproven = invalidate(raise(9, Cause::Commit, None), ENTRY);
        assert_eq!(unproven, Invalidation::Remove);
    }
}
