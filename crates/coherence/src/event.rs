//! What the log says has changed.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use contract::{Key, Pattern, Tag};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::position::{Epoch, Lsn};

/// What an invalidation is about.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Subject {
    /// One entry.
    Key(Key),
    /// Every entry that was made from something carrying this surrogate key.
    Tag(Tag),
    /// Every entry whose key is like this.
    KeysLike(Pattern),
    /// Every entry that carries a surrogate key like this.
    TagsLike(Pattern),
    /// Every entry there is (TRUNCATE of a contracted table, emergency purge).
    Everything,
}

impl Subject {
    /// Whether an entry under `key` with these tags is among what it is about.
    #[must_use]
    pub fn concerns(&self, key: &Key, tags: &[Tag]) -> bool {
        match self {
            Self::Key(named) => named == key,
            Self::Tag(named) => tags.contains(named),
            Self::KeysLike(pattern) => pattern.matches(key.as_str()),
            Self::TagsLike(pattern) => tags.iter().any(|tag| pattern.matches(tag.as_str())),
            Self::Everything => true,
        }
    }

    /// Whether it is a wildcard: it names none of its entries.
    #[must_use]
    pub fn is_pattern(&self) -> bool {
        matches!(self, Self::KeysLike(_) | Self::TagsLike(_))
    }
}

impl fmt::Display for Subject {
    /// `k:<key>`, `t:<tag>`, `k*:<pattern>`, `t*:<pattern>` or `*`; the form kept in shared tiers and
    /// log messages.
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

/// A text that is no subject.
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

/// Why something was invalidated.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// A commit in the log.
    Commit,
    /// A commit that deleted rows: what was made from them is not kept within any budget.
    Delete,
    /// The application asked, before it answered its own caller.
    Application,
    /// A person asked.
    Purge,
}

impl Cause {
    /// The name used in metrics, logs and the shared tier.
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

/// One commit's invalidations.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Event {
    /// The commit's end position.
    pub lsn: Lsn,
    /// Why.
    pub cause: Cause,
    /// When the database says that it committed, in µs since 1970-01-01 UTC. For lag metrics only.
    pub committed_us: u64,
    /// What it touched; no order.
    pub subjects: Vec<Subject>,
    /// What it made of some of the keys among the subjects, where the log tells all of it; each key
    /// once. An entry that is held under such a key need not be loaded anew: the new one takes its
    /// place by the fill rule, with τ the event's own position.
    pub renewals: Vec<Renewal>,
}

/// An entry's content as a commit left it.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Renewal {
    /// Of which entry.
    pub key: Key,
    /// JSON; `None`: proven absence.
    pub value: Option<Arc<str>>,
    /// Its surrogate keys.
    pub tags: Vec<Tag>,
    /// How long the entry may live from now on.
    pub ttl: Duration,
}

impl Event {
    /// What the event made of `key`, if it tells.
    #[must_use]
    pub fn renewal(&self, key: &Key) -> Option<&Renewal> {
        self.renewals.iter().find(|renewal| renewal.key == *key)
    }
}

/// A piece of the log with nothing missing inside: the events after `prev` up to and with `upto`.
///
/// Batches form a chain by position. A tier that has not applied `prev` has missed something and
/// says so ([`crate::fence::Gap`]). A batch without events is a heartbeat.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Batch {
    /// The history that the positions belong to.
    pub epoch: Epoch,
    /// Where the chain stood before this batch.
    pub prev: Lsn,
    /// Where it stands after it.
    pub upto: Lsn,
    /// W: every commit up to here is visible to all snapshots taken from now on.
    pub watermark: Lsn,
    /// In commit order; positions in `(prev, upto]`, or older ones delivered again.
    pub events: Vec<Event>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_read_back_what_they_print() {
        for text in ["k:v1:a:b:c", "t:a:b", "k*:v1:a:*:c", "t*:ab:*", "*"] {
            assert_eq!(text.parse::<Subject>().map(|subject| subject.to_string()), Ok(text.into()));
        }
        for text in ["", "k:", "k*:v1:a:b:c", "t*:*", "k*:*", "x*:ab*", "**"] {
            assert!(text.parse::<Subject>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_subject_concerns_what_it_says() {
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
