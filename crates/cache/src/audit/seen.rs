//! What a node's tiers would answer, as auditors compare it and as nodes tell it to one another.
//!
//! Values don't travel: a node tells a digest of what it holds, salted by whoever asks. So neither
//! the admin listener nor what stands in front of it ever carries a row, and equal values can't be
//! told from recorded answers. A value with few possible forms can still be guessed by somebody who
//! may ask; that is why the listener is private.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use coherence::{Epoch, Lsn};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::engine::{Answers, Holding, Tier};
use crate::entry::Content;

/// SHA-256 of a salt and a content: equal digests are equal contents.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of `content` under `salt`.
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

/// What one tier holds under a key, and what a reader would be given of it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Held {
    /// Which tier.
    pub tier: Tier,
    /// Whether a reader would be given it, and how.
    pub answers: Answers,
    /// The entry's τ: the version of the answer.
    #[serde(with = "text")]
    pub tau: Lsn,
    /// What the tier has applied.
    #[serde(with = "text")]
    pub applied: Lsn,
    /// The staleness bound that an answer would show, in µs; null: none.
    pub bound_us: Option<u64>,
    /// When it was loaded by its own account, ms since 1970.
    pub loaded_ms: u64,
    /// What it says.
    #[serde(with = "text")]
    pub digest: Digest,
}

impl Held {
    /// A holding, with its content's digest under `salt`.
    #[must_use]
    pub fn of(holding: &Holding, salt: &str) -> Self {
        let us = |bound: Duration| u64::try_from(bound.as_micros()).unwrap_or(u64::MAX);
        Self {
            tier: holding.tier,
            answers: holding.answers,
            tau: holding.entry.tau,
            applied: holding.applied,
            bound_us: holding.bound.map(us),
            loaded_ms: holding.entry.loaded_wall_ms,
            digest: Digest::of(salt, &holding.entry.content),
        }
    }

    /// The bound that it shows.
    #[must_use]
    pub fn bound(&self) -> Option<Duration> {
        self.bound_us.map(Duration::from_micros)
    }
}

/// What a node says of a key to another node's auditor.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Told {
    /// The key that its contract makes of the id.
    pub key: String,
    /// The history that its tiers follow; null: none yet.
    #[serde(with = "optional")]
    pub epoch: Option<Epoch>,
    /// Its tiers, those that hold something.
    pub tiers: Vec<Held>,
    /// Tiers that could not be looked at.
    #[serde(default)]
    pub unread: Vec<Tier>,
}

/// What came of asking another node.
#[derive(Clone, Debug, PartialEq)]
pub enum PeerLook {
    /// It has answered.
    Said(Told),
    /// It did not, in time.
    Unreachable,
    /// It said something that no node says, or speaks of another key.
    Rubbish,
    /// It was not asked, because lately it did not answer.
    Resting,
}

mod text {
    use super::{Deserialize, FromStr, fmt};
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

mod optional {
    use super::{Deserialize, Epoch};
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
    fn equal_contents_have_equal_digests_and_no_others() {
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
    fn what_a_node_tells_reads_back_and_rubbish_is_an_error() {
        let told = Told {
            key: "v1:catalog:price:42".into(),
            epoch: Some(Epoch { system: 7, timeline: 1, server: 2, incarnation: 3 }),
            tiers: vec![Held {
                tier: Tier::Shared,
                answers: Answers::Marked,
                tau: Lsn(50),
                applied: Lsn(100),
                bound_us: None,
                loaded_ms: 7,
                digest: Digest::of("", &Content::Absent),
            }],
            unread: vec![Tier::Local],
        };
        let json = serde_json::to_string(&told).expect("JSON");
        assert_eq!(serde_json::from_str::<Told>(&json).expect("the same"), told);
        for (from, to) in [
            ("0/32", "50"),
            ("marked", "perhaps"),
            ("7.1.2.3", "7.1.2"),
            ("\"loaded_ms\":7", "\"loaded_ms\":-7"),
            ("\"digest\":\"", "\"digest\":\"ä"),
        ] {
            let rubbish = json.replace(from, to);
            assert_ne!(rubbish, json);
            assert!(serde_json::from_str::<Told>(&rubbish).is_err(), "{rubbish}");
        }
    }
}
