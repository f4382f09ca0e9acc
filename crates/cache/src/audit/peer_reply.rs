//! The entries of a node's tiers, as auditors compare them and as nodes report them to each other.
//!
//! Values are not sent: a node reports a digest of each entry, salted by the asking node. So neither the
//! admin listener nor a proxy in front of it ever carries a row, and equal values can't be recognized in
//! recorded replies. A value from a small set can still be guessed by a client of the listener; that is
//! why the listener is private.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use coherence::{Epoch, Lsn};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::engine::{ServedAs, Tier, TierEntry};
use crate::entry::Content;

/// SHA-256 of a salt and a content: equal digests are equal contents.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Returns the digest of `content` under `salt`.
    #[must_use]
    pub fn of(salt: &str, content: &Content) -> Self {
        let mut hash = Sha256::new();
        let mut part = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        part(salt.as_bytes());
        match content {
            Content::Present(value) => {
                part(&value.head);
                part(&value.body);
            }
            Content::Absent => part(b"absent"),
            Content::Uncacheable => part(b"uncacheable, and not absent"),
        }
        Self(hash.finalize().into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Digest {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = "a digest is 64 hexadecimal digits";
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(bad);
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| bad)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| bad)?;
        }
        Ok(Self(bytes))
    }
}

/// The entry of one tier under a key without its value, and how it would be served.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct EntrySummary {
    /// Which tier.
    pub tier: Tier,
    /// How a reader would be served from it.
    #[serde(rename = "answers")]
    pub served_as: ServedAs,
    /// The entry's τ: the version of the answer.
    #[serde(with = "text")]
    pub tau: Lsn,
    /// The position that the tier has applied.
    #[serde(with = "text")]
    pub applied: Lsn,
    /// The staleness bound that an answer would show, in µs; null: none.
    pub bound_us: Option<u64>,
    /// The load time that the entry records, in ms since 1970.
    pub loaded_ms: u64,
    /// The digest of its content.
    #[serde(with = "text")]
    pub digest: Digest,
}

impl EntrySummary {
    /// Summarizes an entry, with the digest of its content under `salt`.
    #[must_use]
    pub fn of(found: &TierEntry, salt: &str) -> Self {
        let us = |bound: Duration| u64::try_from(bound.as_micros()).unwrap_or(u64::MAX);
        Self {
            tier: found.tier,
            served_as: found.served_as,
            tau: found.entry.tau,
            applied: found.applied,
            bound_us: found.bound.map(us),
            loaded_ms: found.entry.loaded_wall_ms,
            digest: Digest::of(salt, &found.entry.content),
        }
    }

    /// Returns the bound that an answer would show.
    #[must_use]
    pub fn bound(&self) -> Option<Duration> {
        self.bound_us.map(Duration::from_micros)
    }
}

/// The reply of a node to another node's auditor about a key.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct PeerReply {
    /// The key that its contract derives from the id.
    pub key: String,
    /// The epoch that its tiers follow; null: none yet.
    #[serde(with = "optional")]
    pub epoch: Option<Epoch>,
    /// The entries of its tiers, of those that have one.
    #[serde(rename = "tiers")]
    pub entries: Vec<EntrySummary>,
    /// The tiers that could not be read.
    #[serde(default)]
    pub unread: Vec<Tier>,
}

/// The outcome of a request to another node's auditor listener.
#[derive(Clone, Debug, PartialEq)]
pub enum PeerOutcome {
    /// It replied.
    Replied(PeerReply),
    /// It did not reply in time.
    Unreachable,
    /// Its reply was malformed, or about another key.
    Malformed,
    /// It was not asked, because its last requests failed.
    Skipped,
}

/// Serializes a value as its text.
mod text {
    use std::fmt;
    use std::str::FromStr;

    use serde::Deserialize;
    use serde::de::Error;

    pub(super) fn serialize<T: fmt::Display, S: serde::Serializer>(
        value: &T,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(super) fn deserialize<'de, T: FromStr<Err: fmt::Display>, D: serde::Deserializer<'de>>(
        deserializer: D,
    ) -> Result<T, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// Serializes an optional epoch as its text.
mod optional {
    use coherence::Epoch;
    use serde::Deserialize;
    use serde::de::Error;

    pub(super) fn serialize<S: serde::Serializer>(
        value: &Option<Epoch>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(epoch) => serializer.collect_str(epoch),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Epoch>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| text.parse().map_err(D::Error::custom)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Value;

    #[test]
    fn digests_differ_by_content_and_salt() {
        let value = |head: &'static str, body: &'static str| {
            Content::Present(Value { head: head.into(), body: body.into() })
        };
        let contents = [
            value("", "ab"),
            value("a", "b"),
            value("", "absent"),
            Content::Absent,
            Content::Uncacheable,
        ];
        for (index, one) in contents.iter().enumerate() {
            for (other, two) in contents.iter().enumerate() {
                assert_eq!(Digest::of("s", one) == Digest::of("s", two), index == other);
            }
            assert_ne!(Digest::of("s", one), Digest::of("t", one), "the salt counts");
        }
    }

    #[test]
    fn reply_round_trips_malformed_rejected() {
        let reply = PeerReply {
            key: "v1:catalog:price:42".into(),
            epoch: Some(Epoch { system: 7, timeline: 1, server: 2, incarnation: 3 }),
            entries: vec![EntrySummary {
                tier: Tier::Shared,
                served_as: ServedAs::Stale,
                tau: Lsn(50),
                applied: Lsn(100),
                bound_us: None,
                loaded_ms: 7,
                digest: Digest::of("", &Content::Absent),
            }],
            unread: vec![Tier::Local],
        };
        let json = serde_json::to_string(&reply).expect("JSON");
        assert_eq!(serde_json::from_str::<PeerReply>(&json).expect("the same"), reply);
        for (from, to) in [
            ("0/32", "50"),
            ("marked", "perhaps"),
            ("7.1.2.3", "7.1.2"),
            ("\"loaded_ms\":7", "\"loaded_ms\":-7"),
            ("\"digest\":\"", "\"digest\":\"ä"),
        ] {
            let malformed = json.replace(from, to);
            assert_ne!(malformed, json);
            assert!(serde_json::from_str::<PeerReply>(&malformed).is_err(), "{malformed}");
        }
    }
}
