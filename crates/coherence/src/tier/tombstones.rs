//! The tombstones of a fence, by subject.
//!
//! A backlog of the log raises three of them per row, in each tier, so they are in a hash table. Nothing
//! depends on its order: it is compared and hashed as a set, for the model checker.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};

use crate::event::Subject;
use crate::position::Lsn;

/// The position of the last invalidation of each subject.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Tombstones(HashMap<Subject, Lsn>);

impl Tombstones {
    /// Returns the position for `subject`, which is zero for a new one, to be raised.
    pub(crate) fn entry(&mut self, subject: &Subject) -> &mut Lsn {
        // Subjects of a log repeat: most of them need no copy of the name.
        if !self.0.contains_key(subject) {
            self.0.insert(subject.clone(), Lsn::ZERO);
        }
        self.0.get_mut(subject).expect("it was inserted")
    }

    /// Returns the position of the last invalidation of `subject`, or zero.
    pub(crate) fn get(&self, subject: &Subject) -> Lsn {
        self.0.get(subject).copied().unwrap_or_default()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn clear(&mut self) {
        self.0 = HashMap::new();
    }

    pub(crate) fn positions(&self) -> impl Iterator<Item = Lsn> {
        self.0.values().copied()
    }

    /// Drops the tombstones up to `upto`, and gives memory back that a storm has left.
    pub(crate) fn drop_to(&mut self, upto: Lsn) {
        self.0.retain(|_, tombstone| *tombstone > upto);
        if self.0.capacity() / 8 > self.0.len() {
            self.0.shrink_to(self.0.len() * 2);
        }
    }
}

impl Hash for Tombstones {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let mut sorted: Vec<_> = self.0.iter().collect();
        sorted.sort_unstable();
        sorted.hash(state);
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasher, RandomState};

    use contract::Tag;

    use super::*;

    fn tag(n: usize) -> Subject {
        Subject::Tag(Tag::parse(&format!("t{n}")).expect("a tag"))
    }

    #[test]
    fn hash_ignores_the_order() {
        let (mut up, mut down) = (Tombstones::default(), Tombstones::default());
        for n in 0..50 {
            *up.entry(&tag(n)) = Lsn(n as u64);
            *down.entry(&tag(49 - n)) = Lsn(49 - n as u64);
        }
        let state = RandomState::new();
        assert_eq!(state.hash_one(&up), state.hash_one(&down));
        *down.entry(&tag(7)) = Lsn(70);
        assert_ne!(state.hash_one(&up), state.hash_one(&down));
    }

    #[test]
    fn dropped_tombstones_give_memory_back() {
        let mut tombstones = Tombstones::default();
        for n in 0..10_000 {
            *tombstones.entry(&tag(n)) = Lsn(n as u64);
        }
        tombstones.drop_to(Lsn(9_989));
        assert_eq!((tombstones.len(), tombstones.get(&tag(9_990))), (10, Lsn(9_990)));
        assert_eq!(tombstones.get(&tag(3)), Lsn::ZERO);
        assert!(tombstones.0.capacity() < 100);
    }
}
