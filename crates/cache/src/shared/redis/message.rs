//! The format of messages on the node stream: JSON, with positions as numbers, and subjects and epochs in
//! their text form.
//!
//! A node of another version may have written a message. A field, a cause or a subject that this version does not
//! know makes the message malformed, and a malformed message counts as a loss: the node drops its in-process tier.
//! It never applies a part of a message.

use std::borrow::Cow;
use std::time::Duration;

use coherence::{Batch, Cause, CoverageDigest, Epoch, Event, Lsn, Renewal, Subject};
use contract::{Key, Tag};
use serde::{Deserialize, Serialize};

use super::entry_format::millis;
use crate::shared::tier::NodeMessage;

/// Longer messages are malformed: a chunk names at most [`MAX_SUBJECTS`](super::batch_chunk::MAX_SUBJECTS).
const MAX_BYTES: usize = 4 << 20;

/// A text of a message, not copied unless it contains an escape. (Inside of a list or an option `Cow` itself would
/// always be copied.)
#[derive(Serialize, Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl From<String> for Text<'_> {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Self(text.into())
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireBatch<'a> {
    #[serde(borrow)]
    epoch: Cow<'a, str>,
    prev: u64,
    upto: u64,
    watermark: u64,
    /// Messages of versions before it have none, and cover nothing.
    #[serde(default)]
    coverage: u64,
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    events: Vec<WireEvent<'a>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireEvent<'a> {
    lsn: u64,
    cause: Cause,
    us: u64,
    #[serde(borrow)]
    subjects: Vec<Text<'a>>,
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    renewals: Vec<WireRenewal<'a>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireRenewal<'a> {
    #[serde(borrow)]
    key: Text<'a>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    value: Option<Text<'a>>,
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    tags: Vec<Text<'a>>,
    ttl_ms: u64,
    #[serde(default)]
    definition: u64,
}

pub(super) fn encode_batch(batch: &Batch) -> String {
    let wire = WireBatch {
        epoch: batch.epoch.to_string().into(),
        prev: batch.prev.0,
        upto: batch.upto.0,
        watermark: batch.watermark.0,
        coverage: batch.coverage.0,
        events: batch.events.iter().map(WireEvent::from).collect(),
    };
    serde_json::to_string(&wire).expect("strings and numbers always have a JSON form")
}

pub(super) fn encode_evict(subjects: &[Subject]) -> String {
    let names: Vec<String> = subjects.iter().map(Subject::to_string).collect();
    serde_json::to_string(&names).expect("strings always have a JSON form")
}

/// Parses a message by the name of its field. `None`: it is malformed.
pub(super) fn decode(field: &str, text: &[u8]) -> Option<NodeMessage> {
    if text.len() > MAX_BYTES {
        return None;
    }
    match field {
        "batch" => {
            let wire: WireBatch = serde_json::from_slice(text).ok()?;
            let epoch: Epoch = wire.epoch.parse().ok()?;
            let events = wire.events.into_iter().map(WireEvent::into_event);
            Some(NodeMessage::Batch(Batch {
                epoch,
                prev: Lsn(wire.prev),
                upto: Lsn(wire.upto),
                watermark: Lsn(wire.watermark),
                coverage: CoverageDigest(wire.coverage),
                events: events.collect::<Option<_>>()?,
            }))
        }
        "evict" => {
            let names: Vec<Text<'_>> = serde_json::from_slice(text).ok()?;
            subjects(&names).map(NodeMessage::Evict)
        }
        _ => None,
    }
}

impl<'a> From<&'a Event> for WireEvent<'a> {
    fn from(event: &'a Event) -> Self {
        Self {
            lsn: event.lsn.0,
            cause: event.cause,
            us: event.committed_us,
            subjects: event.subjects.iter().map(|subject| subject.to_string().into()).collect(),
            renewals: event.renewals.iter().map(WireRenewal::from).collect(),
        }
    }
}

impl<'a> From<&'a Renewal> for WireRenewal<'a> {
    fn from(renewal: &'a Renewal) -> Self {
        Self {
            key: renewal.key.as_str().into(),
            value: renewal.value.as_deref().map(Text::from),
            tags: renewal.tags.iter().map(|tag| tag.as_str().into()).collect(),
            ttl_ms: millis(renewal.ttl),
            definition: renewal.definition,
        }
    }
}

impl WireRenewal<'_> {
    fn into_renewal(self) -> Option<Renewal> {
        let tags = self.tags.iter().map(|tag| Tag::parse(&tag.0).ok());
        Some(Renewal {
            key: Key::parse(&self.key.0).ok()?,
            value: self.value.map(|value| value.0.into()),
            tags: tags.collect::<Option<_>>()?,
            ttl: Duration::from_millis(self.ttl_ms),
            definition: self.definition,
        })
    }
}

impl WireEvent<'_> {
    fn into_event(self) -> Option<Event> {
        Some(Event {
            lsn: Lsn(self.lsn),
            cause: self.cause,
            committed_us: self.us,
            subjects: subjects(&self.subjects)?,
            renewals: {
                let renewals = self.renewals.into_iter().map(WireRenewal::into_renewal);
                renewals.collect::<Option<_>>()?
            },
        })
    }
}

fn subjects(names: &[Text<'_>]) -> Option<Vec<Subject>> {
    names.iter().map(|name| name.0.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn decode_reverses_encode() {
        let subjects = vec![
            Subject::Key(Key::parse("v1:catalog:price:42:de").expect("a key")),
            Subject::Tag(Tag::parse("\"quoted\":tag").expect("a tag")),
            Subject::Everything,
        ];
        let batch = Batch {
            epoch: Epoch { system: u64::MAX, timeline: 1, server: 2, incarnation: 3 },
            prev: Lsn(1),
            upto: Lsn(1 << 53),
            watermark: Lsn(7),
            coverage: CoverageDigest(u64::MAX),
            events: vec![Event {
                lsn: Lsn(1 << 53),
                cause: Cause::Application,
                committed_us: u64::MAX,
                subjects: subjects.clone(),
                renewals: vec![
                    Renewal {
                        key: Key::parse("v1:catalog:price:42").expect("a key"),
                        value: Some("{\"price\":\"9 \u{fc}\"}".into()),
                        tags: vec![Tag::parse("product-42").expect("a tag")],
                        ttl: Duration::from_millis(1_234),
                        definition: u64::MAX,
                    },
                    Renewal {
                        key: Key::parse("v1:catalog:price:43").expect("a key"),
                        value: None,
                        tags: Vec::new(),
                        ttl: Duration::from_secs(60),
                        definition: 0,
                    },
                ],
            }],
        };
        let read = decode("batch", encode_batch(&batch).as_bytes());
        assert!(matches!(read, Some(NodeMessage::Batch(read)) if read == batch));
        let read = decode("evict", encode_evict(&subjects).as_bytes());
        assert!(matches!(read, Some(NodeMessage::Evict(read)) if read == subjects));
    }

    #[test]
    fn message_of_later_version_rejected() {
        let batch = |more: &str, event: &str| {
            format!(
                r#"{{"epoch":"{}","prev":1,"upto":2,"watermark":1{more},"events":[{{"lsn":2,"cause":"commit",
                "us":0,"subjects":["k:v1:catalog:price:42"]{event}}}]}}"#,
                Epoch::default()
            )
        };
        let is_known = |text: &str| decode("batch", text.as_bytes()).is_some();
        assert!(is_known(&batch("", "")), "of an earlier version, without coverage");
        for (more, event) in [
            (r#","scope":"shop""#, ""),
            ("", r#","ranges":["1-9"]"#),
            ("", r#","renewals":[{"key":"v1:catalog:price:42","ttl_ms":1,"codec":"zstd"}]"#),
        ] {
            assert!(!is_known(&batch(more, event)), "{more}{event}");
        }
        assert!(!is_known(&batch("", "").replace("commit", "expiry")));
        assert!(!is_known(&batch("", "").replace("k:v1", "range:v1")));
        assert!(decode("batch2", batch("", "").as_bytes()).is_none());
    }

    proptest! {
        #[test]
        fn malformed_text_never_panics(text in any::<Vec<u8>>(), json in "[\\[\\]{}\":a-z0-9,]{0,80}") {
            for field in ["batch", "evict", "n"] {
                let _ = decode(field, &text);
                let _ = decode(field, json.as_bytes());
            }
        }
    }
}
