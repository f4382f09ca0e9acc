//! What an order would reach: counts for people, before anything is removed.

use std::collections::{BTreeMap, BTreeSet};

use contract::Key;

/// How many keys are shown.
const EXAMPLES: usize = 5;

/// The entries of one tier that some subjects concern.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Survey {
    /// How many there are, by the part of their key that names the kind of data ([`Key::prefix`]).
    pub entries: BTreeMap<String, u64>,
    /// The first few of their keys in alphabetical order.
    pub examples: BTreeSet<Key>,
    /// Not every entry of the tier was looked at: there are at least as many.
    pub cut: bool,
}

impl Survey {
    /// How many there are of all kinds.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.entries.values().sum()
    }

    /// One more.
    pub(crate) fn count(&mut self, key: &Key) {
        match self.entries.get_mut(key.prefix()) {
            Some(entries) => *entries += 1,
            None => drop(self.entries.insert(key.prefix().to_owned(), 1)),
        }
        if self.examples.len() < EXAMPLES || self.examples.last().is_some_and(|last| key < last) {
            self.examples.insert(key.clone());
            if self.examples.len() > EXAMPLES {
                self.examples.pop_last();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_by_kind_and_shows_the_first() {
        let mut survey = Survey::default();
        for text in ["v1:a:b:9", "v1:a:b:1", "v1:a:c:1", "v1:a:b:3", "v1:a:b:2", "v1:a:b:4"] {
            survey.count(&Key::parse(text).expect("a key"));
        }
        assert_eq!(survey.total(), 6);
        assert_eq!(survey.entries["v1:a:b"], 5);
        let examples: Vec<&str> = survey.examples.iter().map(Key::as_str).collect();
        assert_eq!(examples, ["v1:a:b:1", "v1:a:b:2", "v1:a:b:3", "v1:a:b:4", "v1:a:b:9"]);
    }
}
