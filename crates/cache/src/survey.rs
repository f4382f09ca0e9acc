//! Surveys: the number of entries that a purge request would remove, before it removes them.

use std::collections::{BTreeMap, BTreeSet};

use contract::Key;

/// The number of keys that a survey shows.
const EXAMPLES: usize = 5;

/// The entries of one tier that some subjects concern.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Survey {
    /// The number of entries by kind of data, the [prefix](Key::prefix) of their keys.
    pub entries: BTreeMap<String, u64>,
    /// The first five of their keys in alphabetical order.
    pub examples: BTreeSet<Key>,
    /// Whether the pass over the tier was cut short, so that the numbers are lower limits.
    pub cut: bool,
}

impl Survey {
    /// Returns the number of entries of all kinds.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.entries.values().sum()
    }

    /// Counts an entry.
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
    fn counts_kinds_and_keeps_first_keys() {
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
