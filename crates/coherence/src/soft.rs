//! Soft invalidation: an entry that a commit has made old may stay, marked, while what is shown
//! about it stays true.
//!
//! A marked entry is one whose proof has ended. It still holds every commit up to the position
//! before the first one it misses, so it is proven as of the time that this position was proven for,
//! or as of the beginning of its own load, and no later. The bound of an answer from it grows by
//! itself, and the contract's rule fences it at the budget like any other answer. How much of the
//! budget may be spent so is another question; the [governor](crate::governor) answers it.

use crate::clock::Mono;
use crate::event::{Cause, Event, Subject};
use crate::position::Lsn;
use crate::rules::{Rule, on};

/// Where a marked entry's proof ends.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Mark {
    /// The first position that may be missing in it.
    pub missed: Lsn,
    /// Every commit acknowledged before this is in it.
    pub as_of: Mono,
}

impl Mark {
    /// How far the entry reaches: every relevant commit up to here is in it.
    #[must_use]
    pub fn reaches(self) -> Lsn {
        Lsn(self.missed.0.saturating_sub(1))
    }
}

/// A stored entry that an event concerns.
#[derive(Clone, Copy, Debug)]
pub struct Struck {
    /// Its τ.
    pub tau: Lsn,
    /// When its load began, if that proves something (this process made it).
    pub loaded: Option<Mono>,
    /// Its mark, if it has one.
    pub mark: Option<Mark>,
    /// Whether its contract has a budget to spend.
    pub lenient: bool,
}

/// What an event does to an entry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Blow {
    /// Nothing: what happened is in it, or it bears this event's mark already.
    Miss,
    /// It is marked already, and stays as it is: the invalidation is merged with an earlier one.
    Merge,
    /// It gets this mark.
    Mark(Mark),
    /// It goes.
    Remove,
}

/// Whether an event may mark instead of remove: a commit that names what it changed. What a person
/// or an application asked for, what was deleted, and what is about everything (TRUNCATE), removes.
#[must_use]
pub fn may_mark(event: &Event) -> bool {
    event.cause == Cause::Commit && !event.subjects.contains(&Subject::Everything)
}

/// What `event` does to an entry that it concerns. `proven` answers the time as of which a tier that
/// has applied a position is proven ([`Bound::proven_of`](crate::Bound::proven_of)).
///
/// The entry must stand in its tier, that is to say it misses nothing that the tier has applied
/// before this event; or it has a mark.
#[must_use]
pub fn strike(event: &Event, struck: Struck, proven: impl FnOnce(Lsn) -> Option<Mono>) -> Blow {
    if struck.tau >= event.lsn {
        return Blow::Miss;
    }
    if !struck.lenient || !may_mark(event) {
        return Blow::Remove;
    }
    if struck.mark.is_some_and(|mark| mark.missed == event.lsn) {
        return Blow::Miss;
    }
    if struck.mark.is_some() && on(Rule::MarkKeepsFirst) {
        return Blow::Merge;
    }
    let before =
        if on(Rule::MarkStopsBefore) { event.lsn.0.saturating_sub(1) } else { event.lsn.0 };
    match proven(Lsn(before)).max(struck.loaded) {
        Some(as_of) => Blow::Mark(Mark { missed: event.lsn, as_of }),
        None => Blow::Remove,
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

    const ENTRY: Struck = Struck { tau: Lsn(5), loaded: None, mark: None, lenient: true };

    #[test]
    fn the_mark_stops_before_the_first_commit_that_is_missing() {
        let blow = strike(&event(9, Cause::Commit), ENTRY, |upto| {
            assert_eq!(upto, Lsn(8), "the ninth is not in it");
            Some(Mono(100))
        });
        let mark = Mark { missed: Lsn(9), as_of: Mono(100) };
        assert_eq!(blow, Blow::Mark(mark));
        assert_eq!(mark.reaches(), Lsn(8));
        let marked = Struck { mark: Some(mark), ..ENTRY };
        let later = strike(&event(12, Cause::Commit), marked, |_| Some(Mono(900)));
        assert_eq!(later, Blow::Merge, "a later commit makes it no fresher");
        assert_eq!(strike(&event(5, Cause::Commit), ENTRY, |_| None), Blow::Miss);
    }

    #[test]
    fn an_own_load_proves_as_of_its_beginning() {
        let own = Struck { loaded: Some(Mono(70)), ..ENTRY };
        let mark = |blow| match blow {
            Blow::Mark(mark) => mark.as_of,
            other => panic!("{other:?}"),
        };
        assert_eq!(mark(strike(&event(9, Cause::Commit), own, |_| None)), Mono(70));
        assert_eq!(mark(strike(&event(9, Cause::Commit), own, |_| Some(Mono(90)))), Mono(90));
    }

    #[test]
    fn what_is_hard_unprovable_or_without_a_budget_goes() {
        let gone = |event: &Event, struck| strike(event, struck, |_| Some(Mono(1))) == Blow::Remove;
        assert!(gone(&event(9, Cause::Purge), ENTRY));
        assert!(gone(&event(9, Cause::Application), ENTRY));
        assert!(gone(&event(9, Cause::Delete), ENTRY));
        let marked = Struck { mark: Some(Mark { missed: Lsn(6), as_of: Mono(1) }), ..ENTRY };
        assert!(gone(&event(9, Cause::Purge), marked), "a purge takes marked entries too");
        assert!(gone(&event(9, Cause::Commit), Struck { lenient: false, ..ENTRY }));
        let all = Event { subjects: vec![Subject::Everything], ..event(9, Cause::Commit) };
        assert!(gone(&all, ENTRY), "TRUNCATE");
        assert_eq!(strike(&event(9, Cause::Commit), ENTRY, |_| None), Blow::Remove);
    }
}
