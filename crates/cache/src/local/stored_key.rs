//! The key under which the store has an entry.

use std::borrow::Borrow;
use std::hash::{Hash, Hasher};

use super::entry::LocalEntry;

/// The key of a stored entry, which is in the entry.
#[derive(Clone)]
pub(super) struct StoredKey(LocalEntry);

impl StoredKey {
    pub(super) fn of(entry: &LocalEntry) -> Self {
        Self(entry.clone())
    }
}

impl Borrow<[u8]> for StoredKey {
    #[inline]
    fn borrow(&self) -> &[u8] {
        self.0.key_bytes()
    }
}

impl Hash for StoredKey {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.key_bytes().hash(state);
    }
}

impl PartialEq for StoredKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.key_bytes() == other.0.key_bytes()
    }
}

impl Eq for StoredKey {}
