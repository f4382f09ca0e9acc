//! The key, the content and the tags of an entry.

use std::sync::Arc;
use std::time::Duration;

use coherence::{ClockTime, Subject};
use contract::{Key, Tag};

use super::LocalEntry;
use crate::entry::{Content, Entry};
use crate::local::packed::{Kind, ascii};

impl LocalEntry {
    /// Returns the bytes of its key.
    #[inline]
    pub(in crate::local) fn key_bytes(&self) -> &[u8] {
        self.layout.key(&self.0.slice)
    }

    /// Returns the text of its key.
    pub(in crate::local) fn key_text(&self) -> &str {
        ascii(self.key_bytes())
    }

    /// Returns its key, as a copy.
    pub(in crate::local) fn key(&self) -> Key {
        Key::parse(self.key_text()).expect("it was made of a key")
    }

    /// Returns its content. A small value is copied, a large one is shared.
    #[must_use]
    pub fn content(&self) -> Content {
        match (self.layout.kind, self.outside()) {
            (Kind::Present, Some(outside)) => Content::Present(outside.value.clone()),
            (Kind::Present, None) => Content::Present(self.layout.value(&self.0.slice)),
            (Kind::Absent, _) => Content::Absent,
            (Kind::Uncacheable, _) => Content::Uncacheable,
        }
    }

    /// Returns whether there is a value.
    #[must_use]
    pub fn is_present(&self) -> bool {
        self.layout.kind == Kind::Present
    }

    /// Returns whether it says that there is no value.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        self.layout.kind == Kind::Absent
    }

    /// Returns whether it says that the origin's answer may not be stored.
    #[must_use]
    pub fn is_uncacheable(&self) -> bool {
        self.layout.kind == Kind::Uncacheable
    }

    /// Returns its tags: an invalidation of any of them invalidates it.
    pub fn tags(&self) -> impl Iterator<Item = &str> + Clone {
        let outside = self.outside().map_or(&[][..], |outside| &*outside.tags);
        self.layout.tags(&self.0.slice).chain(outside.iter().map(Tag::as_str))
    }

    /// Returns its tags, as copies where they are packed.
    #[must_use]
    pub fn tag_list(&self) -> Arc<[Tag]> {
        match self.outside() {
            Some(outside) => Arc::clone(&outside.tags),
            None => {
                let parse = |tag| Tag::parse(tag).expect("it was made of tags");
                self.layout.tags(&self.0.slice).map(parse).collect()
            }
        }
    }

    /// Returns whether the subject covers it.
    pub(in crate::local) fn is_named_by(&self, subject: &Subject) -> bool {
        subject.names(self.key_text(), self.tags())
    }

    /// Returns its TTL, jitter included: the safety net beneath the log.
    #[must_use]
    pub fn ttl(&self) -> Duration {
        Duration::from_nanos(self.ttl_ns)
    }

    /// Returns the time by the database's clock at which its value changes.
    pub(crate) fn changes_at(&self) -> Option<ClockTime> {
        self.rare_parts()?.changes_at
    }

    /// Returns the duration of the load.
    #[must_use]
    pub fn cost(&self) -> Duration {
        Duration::from_micros(self.cost_us.into())
    }

    /// Returns the entry in the form of the other tiers.
    #[must_use]
    pub fn to_entry(&self) -> Entry {
        Entry {
            tau: self.tau,
            content: self.content(),
            tags: self.tag_list(),
            loaded_wall_ms: self.loaded_wall_ms,
            ttl: self.ttl(),
            seen: self.seen,
            definition: self.definition,
            changes_at: self.changes_at(),
            cost_us: self.cost_us,
        }
    }

    /// Returns its bytes behind the fields.
    pub(in crate::local) fn packed_len(&self) -> usize {
        self.0.slice.len()
    }
}
