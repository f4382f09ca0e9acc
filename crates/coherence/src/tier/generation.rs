//! Generations: invalidations that are in force before the entries that they concern are removed.
//!
//! An event about a tag with a million entries can't remove them in the moment at which it is applied.
//! So it only raises the generation of its subject, and every reader compares the entry that it has found
//! with the generations of the entry's tags. A sweep [settles](settle) the entries later, one by one.
//!
//! **Callers must ensure:** a raise is visible to readers before the tier's position covers its event, and
//! it is kept until each entry that it concerns was settled.

use crate::position::Lsn;
use crate::rules::{Rule, on};
use crate::tier::soft::{EntryState, Invalidation, Raise, invalidate};

/// The newest events about one subject.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Generation {
    /// The newest event.
    pub newest: Lsn,
    /// The newest event that removes soft-stale entries too.
    pub hard: Lsn,
}

impl Generation {
    /// Returns the generation after the raise.
    #[must_use]
    pub fn raised(self, raise: Raise) -> Self {
        let hard = if raise.is_soft { self.hard } else { self.hard.max(raise.lsn) };
        Self { newest: self.newest.max(raise.lsn), hard }
    }

    /// Returns the newest events about two subjects of an entry.
    #[must_use]
    pub fn merged(self, other: Self) -> Self {
        Self { newest: self.newest.max(other.newest), hard: self.hard.max(other.hard) }
    }

    /// Returns whether the raise adds anything. The repeat of an event does not.
    #[must_use]
    pub fn is_raised_by(self, raise: Raise) -> bool {
        self.raised(raise) != self
    }

    /// Returns whether an entry with this token has to be settled before it is used.
    #[must_use]
    #[inline]
    pub fn outdates(self, tau: Lsn, is_soft_stale: bool) -> bool {
        let needed = if is_soft_stale { self.hard } else { self.newest };
        tau < needed && on(Rule::ReadAboveGeneration)
    }
}

/// Returns whether an entry was dropped with all others that its tier had. `stamp`: the number of drops and
/// raises before the entry was stored, or a later one at which it was found current; `dropped`: the number at
/// the last drop.
#[must_use]
#[inline]
pub fn is_dropped(stamp: u64, dropped: u64) -> bool {
    stamp < dropped && on(Rule::DroppedEntryAbsent)
}

/// Returns the effect of raises on an entry that they concern: that of the events, had each been applied to
/// the entry at its time. `generation`: the newest of them, including those that were forgotten.
///
/// An entry that lacks only forgotten raises is removed, since its proof is not known.
#[must_use]
pub fn settle(
    entry: EntryState,
    generation: Generation,
    raises: impl IntoIterator<Item = Raise>,
) -> Invalidation {
    if !generation.outdates(entry.tau, entry.soft_stale.is_some()) {
        return Invalidation::Unaffected;
    }
    if entry.tau < generation.hard {
        return Invalidation::Remove;
    }
    let first = raises.into_iter().filter(|raise| raise.lsn > entry.tau).min();
    first.map_or(Invalidation::Remove, |raise| invalidate(raise, entry))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::Mono;
    use crate::tier::soft::SoftStale;

    fn entry(tau: u64, lenient: bool) -> EntryState {
        EntryState { tau: Lsn(tau), loaded: None, soft_stale: None, lenient }
    }

    fn raise(lsn: u64, is_soft: bool) -> Raise {
        Raise { lsn: Lsn(lsn), is_soft, as_of: is_soft.then_some(Mono(lsn * 10)) }
    }

    fn generation(raises: &[Raise]) -> Generation {
        raises.iter().fold(Generation::default(), |all, raise| all.raised(*raise))
    }

    /// Applies the events to the entry one by one, at their time.
    fn applied_at_once(mut entry: EntryState, raises: &[Raise]) -> Option<EntryState> {
        for raise in raises {
            match invalidate(*raise, entry) {
                Invalidation::Unaffected | Invalidation::Merge => {}
                Invalidation::SoftStale(proof) => entry.soft_stale = Some(proof),
                Invalidation::Remove => return None,
            }
        }
        Some(entry)
    }

    #[test]
    fn forgotten_raise_removes() {
        let known = [raise(8, true)];
        let all = generation(&[raise(8, true), raise(12, true)]);
        assert_eq!(settle(entry(9, true), all, known), Invalidation::Remove);
        let proof = SoftStale { missed: Lsn(8), as_of: Mono(80) };
        assert_eq!(settle(entry(7, true), all, known), Invalidation::SoftStale(proof));
        assert_eq!(settle(entry(12, true), all, known), Invalidation::Unaffected);
    }

    #[test]
    fn dropped_entry_is_absent() {
        assert!(is_dropped(3, 4) && !is_dropped(4, 4) && !is_dropped(0, 0));
    }

    proptest! {
        /// A sweep has the effect of the events, whenever it comes.
        #[test]
        fn settling_late_equals_applying_at_once(
            tau in 0..20_u64,
            lenient: bool,
            events in proptest::collection::btree_map(1..20_u64, any::<bool>(), 0..6),
            swept in 0..6_usize,
        ) {
            let raises: Vec<Raise> = events.iter().map(|(lsn, soft)| raise(*lsn, *soft)).collect();
            let now = applied_at_once(entry(tau, lenient), &raises);
            let mut late = Some(entry(tau, lenient));
            // One sweep in the middle, one at the end.
            for upto in [swept.min(raises.len()), raises.len()] {
                let Some(state) = &mut late else { break };
                match settle(*state, generation(&raises[..upto]), raises[..upto].iter().copied()) {
                    Invalidation::Unaffected | Invalidation::Merge => {}
                    Invalidation::SoftStale(proof) => state.soft_stale = Some(proof),
                    Invalidation::Remove => late = None,
                }
            }
            let proofs = |state: Option<EntryState>| state.map(|state| state.soft_stale);
            prop_assert_eq!(proofs(late), proofs(now));
        }
    }
}
