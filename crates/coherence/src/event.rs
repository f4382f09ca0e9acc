//! Invalidations, and the batches that carry them.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use contract::{Key, Pattern, Tag};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::position::{Epoch, Lsn};
use crate::tier::coverage::CoverageDigest;

/// The subject of an invalidation.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Subject {
    /// One entry.
    Key(Key),
    /// Every entry that carries this surrogate key.
    Tag(Tag),
    /// Every entry whose key matches this pattern.
    KeysLike(Pattern),
    /// Every entry that carries a surrogate key that matches this pattern.
    TagsLike(Pattern),
    /// All entries (TRUNCATE of a contracted table, emergency purge).
    Everything,
}

impl Subject {
    /// Returns whether the subject covers an entry under `key` with these tags.
    #[must_use]
    pub fn concerns(&self, key: &Key, tags: &[Tag]) -> bool {
        self.names(key.as_str(), tags.iter().map(Tag::as_str))
    }

    /// As [`concerns`](Self::concerns), of an entry that is stored with the texts of its key and tags.
    #[must_use]
    pub fn names<'a>(&self, key: &str, mut tags: impl Iterator<Item = &'a str>) -> bool {
        match self {
            Self::Key(named) => named.as_str() == key,
            Self::Tag(named) => tags.any(|tag| named.as_str() == tag),
            Self::KeysLike(pattern) => pattern.matches(key),
            Self::TagsLike(pattern) => tags.any(|tag| pattern.matches(tag)),
            Self::Everything => true,
        }
    }

    /// Returns whether it is a wildcard, which names none of its entries.
    #[must_use]
    pub fn is_pattern(&self) -> bool {
        matches!(self, Self::KeysLike(_) | Self::TagsLike(_))
    }
}

impl fmt::Display for Subject {
    /// Writes `k:<key>`, `t:<tag>`, `k*:<pattern>`, `t*:<pattern>` or `*`, the form in shared tiers and log
    /// messages.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => write!(f, "k:{}", key.as_str()),
            Self::Tag(tag) => write!(f, "t:{}", tag.as_str()),
            Self::KeysLike(pattern) => write!(f, "k*:{pattern}"),
            Self::TagsLike(pattern) => write!(f, "t*:{pattern}"),
            Self::Everything => f.write_str("*"),
        }
    }
}

/// A text that is not a subject.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error(
    "{0:?} is not an invalidation subject: write `k:<key>`, `t:<tag>`, `k*:<pattern>`, \
     `t*:<pattern>` or `*`"
)]
pub struct ParseSubjectError(String);

impl FromStr for Subject {
    type Err = ParseSubjectError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let err = || ParseSubjectError(text.to_owned());
        match text.split_once(':') {
            Some(("k", key)) => Key::parse(key).map(Self::Key).map_err(|_| err()),
            Some(("t", tag)) => Tag::parse(tag).map(Self::Tag).map_err(|_| err()),
            Some(("k*", keys)) => Pattern::of_keys(keys).map(Self::KeysLike).map_err(|_| err()),
            Some(("t*", tags)) => Pattern::of_tags(tags).map(Self::TagsLike).map_err(|_| err()),
            _ if text == "*" => Ok(Self::Everything),
            _ => Err(err()),
        }
    }
}

/// The cause of an invalidation.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// A commit in the log.
    Commit,
    /// A commit that deleted rows: their entries are removed, without regard to a budget.
    Delete,
    /// A request of the application, before it answers its own caller.
    Application,
    /// A purge request of a person.
    Purge,
}

impl Cause {
    /// Returns the name used in metrics, logs and the shared tier.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Delete => "delete",
            Self::Application => "application",
            Self::Purge => "purge",
        }
    }
}

/// The invalidations of one commit.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Event {
    /// The commit's end position.
    pub lsn: Lsn,
    /// The cause.
    pub cause: Cause,
    /// The commit time that the database reports, in µs since 1970-01-01 UTC. For lag metrics only.
    pub committed_us: u64,
    /// The subjects it changed, in no particular sequence.
    pub subjects: Vec<Subject>,
    /// The new content of some of the keys among the subjects, where the log contains all of it; each key
    /// once. An entry under such a key need not be loaded again: the new content replaces it by the fill
    /// rule, with the event's own position as τ.
    pub renewals: Vec<Renewal>,
}

/// The content of an entry after a commit.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Renewal {
    /// The entry's key.
    pub key: Key,
    /// JSON; `None` for proven absence.
    pub value: Option<Arc<str>>,
    /// Its surrogate keys.
    pub tags: Vec<Tag>,
    /// The TTL of the entry from now on.
    pub ttl: Duration,
    /// The definition of the contract that has made it. It replaces entries of the same definition only.
    pub definition: u64,
}

impl Event {
    /// Returns the new content of `key`, if the event contains it.
    #[must_use]
    pub fn renewal(&self, key: &Key) -> Option<&Renewal> {
        self.renewals.iter().find(|renewal| renewal.key == *key)
    }
}

/// A piece of the log without gaps: the events after `prev`, up to and including `upto`.
///
/// Batches are linked by position. A tier that has not applied `prev` has missed a batch and reports a
/// [gap](crate::fence::Gap). A batch without events is a heartbeat.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Batch {
    /// The epoch of the positions.
    pub epoch: Epoch,
    /// The position before this batch.
    pub prev: Lsn,
    /// The position after this batch.
    pub upto: Lsn,
    /// W: every commit up to here is visible to all later snapshots.
    pub watermark: Lsn,
    /// The mappings that the leader applies, and that the tier must have stated.
    pub coverage: CoverageDigest,
    /// In commit order; positions in `(prev, upto]`, or older ones that are repeated.
    pub events: Vec<Event>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subject_round_trips_as_text() {
        for text in ["k:v1:a:b:c", "t:a:b", "k*:v1:a:*:c", "t*:ab:*", "*"] {
            assert_eq!(text.parse::<Subject>().map(|subject| subject.to_string()), Ok(text.into()));
        }
        for text in ["", "k:", "k*:v1:a:b:c", "t*:*", "k*:*", "x*:ab*", "**"] {
            assert!(text.parse::<Subject>().is_err(), "{text}");
        }
    }

    #[test]
    fn subject_concerns_matching_entries() {
        let key = Key::parse("v1:catalog:price:42").expect("a key");
        let tags = ["product-42", "category-7"].map(|tag| Tag::parse(tag).expect("a tag"));
        let concerns = |text: &str| text.parse::<Subject>().expect(text).concerns(&key, &tags);
        for text in ["k:v1:catalog:price:42", "t:category-7", "k*:*:price:*", "t*:category-*", "*"]
        {
            assert!(concerns(text), "{text}");
        }
        for text in ["k:v1:catalog:price:4", "t:category", "k*:*:stock:*", "t*:*-8", "t*:v1:*"] {
            assert!(!concerns(text), "{text}");
        }
    }
}
