//! The links of an entry in the [tag index](super::tag_index).

use super::slab::NONE;

/// The first link of an entry. Needed to remove the entry from the index.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Links(u32);

impl Links {
    /// The links of an entry without tags.
    pub(super) const NONE: Self = Self(NONE);
}

impl From<u32> for Links {
    fn from(first: u32) -> Self {
        Self(first)
    }
}

impl From<Links> for u32 {
    fn from(links: Links) -> Self {
        links.0
    }
}
