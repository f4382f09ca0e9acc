//! Requests that travel through the log.

use coherence::{Cause, Subject};
use serde_json::{Value, json};
use thiserror::Error;

/// A request (purge request, or an application's invalidation) that goes through the database's log,
/// so that it has a position and passes the same fence as a commit.
///
/// Its form in the log is JSON: `{"id":"…","cause":"purge","subjects":["k:…","t:…","*"]}`. On
/// PostgreSQL an application may send one from inside a transaction, which then invalidates exactly
/// when that transaction commits: `select pg_logical_emit_message(true, 'tidegate', '{…}')`. With keys it is
/// [signed](crate::MessageKeys).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LogMessage {
    /// Identifies the request to its sender; visible in logs.
    pub id: String,
    /// The cause of the invalidation.
    pub cause: Cause,
    /// The subjects to invalidate.
    pub subjects: Vec<Subject>,
}

/// The message exceeds [`LogMessage::MAX_BYTES`]; it has to be sent in parts.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("the message has {bytes} bytes, at most {} are allowed", LogMessage::MAX_BYTES)]
pub struct MessageTooLarge {
    /// Its size.
    pub bytes: usize,
}

/// The reason why a text in the log is not a valid message. Invalid messages are counted and skipped:
/// a mistake of another writer must not stop the feed. One that a later version may have written counts as an
/// invalidation of everything.
#[derive(Debug, Error)]
pub enum MalformedMessage {
    /// Larger than [`LogMessage::MAX_BYTES`].
    #[error(transparent)]
    TooLarge(#[from] MessageTooLarge),
    /// Not JSON.
    #[error("it is not JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// JSON of another shape.
    #[error("{0}")]
    Shape(String),
    /// A request with a cause or subject that this version does not know.
    #[error("{0}; it invalidates everything")]
    Unknown(String),
    /// Its signature does not allow its use.
    #[error("{0}")]
    Refused(String),
}

impl LogMessage {
    /// The prefix of Tidegate's logical messages on PostgreSQL.
    pub const PREFIX: &'static str = "tidegate";

    /// The largest message in bytes of JSON.
    pub const MAX_BYTES: usize = 64 * 1024;

    /// The bytes that a signature adds, to a message and to its JSON.
    const SIGNATURE_BYTES: usize = 128;

    /// Returns a request that invalidates everything.
    #[must_use]
    pub fn everything(id: impl Into<String>) -> Self {
        let subjects = vec![Subject::Everything];
        Self { id: id.into(), cause: Cause::Application, subjects }
    }

    /// Returns a message that invalidates everything, because the rows that a commit has changed
    /// are unknown.
    pub(crate) fn unknown_changes() -> Self {
        Self { cause: Cause::Commit, ..Self::everything(String::new()) }
    }

    /// Divides it into messages that the log takes, with the same id and cause. One after the other, they have
    /// the effect of the whole.
    #[must_use]
    pub fn split(self) -> Vec<Self> {
        let Self { id, cause, subjects } = self;
        let part = |subjects| Self { id: id.clone(), cause, subjects };
        let size = |text: &str| json!(text).to_string().len();
        let frame = json!({ "id": id, "cause": cause.as_str(), "subjects": [] }).to_string().len()
            + Self::SIGNATURE_BYTES;
        let (mut parts, mut subjects_of_part, mut bytes) = (Vec::new(), Vec::new(), frame);
        for subject in subjects {
            // With the comma before it.
            let added = size(&subject.to_string()) + 1;
            if bytes + added > Self::MAX_BYTES && !subjects_of_part.is_empty() {
                parts.push(part(std::mem::take(&mut subjects_of_part)));
                bytes = frame;
            }
            subjects_of_part.push(subject);
            bytes += added;
        }
        parts.push(part(subjects_of_part));
        parts
    }

    /// Returns its form in the log.
    ///
    /// # Errors
    /// [`MessageTooLarge`].
    pub fn to_json(&self) -> Result<String, MessageTooLarge> {
        Self::sized(self.json())
    }

    /// As [`to_json`](Self::to_json), with the time of a signature in seconds since 1970.
    pub(crate) fn to_json_signed_at(&self, seconds: u64) -> Result<String, MessageTooLarge> {
        let mut value = self.json();
        value["signed_at"] = seconds.into();
        Self::sized(value)
    }

    fn json(&self) -> Value {
        let subjects: Vec<String> = self.subjects.iter().map(ToString::to_string).collect();
        json!({ "id": self.id, "cause": self.cause.as_str(), "subjects": subjects })
    }

    fn sized(value: Value) -> Result<String, MessageTooLarge> {
        let text = value.to_string();
        if text.len() > Self::MAX_BYTES {
            return Err(MessageTooLarge { bytes: text.len() });
        }
        Ok(text)
    }

    /// Parses its form in the log, to which other programs may write too.
    ///
    /// # Errors
    /// [`MalformedMessage`].
    pub fn from_json(bytes: &[u8]) -> Result<Self, MalformedMessage> {
        Self::from_json_signed_at(bytes).map(|(message, _)| message)
    }

    /// As [`from_json`](Self::from_json). Returns the time of a signature too, if there is one.
    pub(crate) fn from_json_signed_at(
        bytes: &[u8],
    ) -> Result<(Self, Option<u64>), MalformedMessage> {
        if bytes.len() > Self::MAX_BYTES {
            return Err(MessageTooLarge { bytes: bytes.len() }.into());
        }
        let value: Value = serde_json::from_slice(bytes)?;
        let shape = |text: &str| MalformedMessage::Shape(text.to_owned());
        let text = |name: &str| value.get(name).and_then(Value::as_str);
        let cause = match text("cause").ok_or_else(|| shape("`cause` is missing"))? {
            "purge" => Cause::Purge,
            "application" => Cause::Application,
            other => {
                let problem = format!("`cause` is {other:?}, not `purge` or `application`");
                return Err(MalformedMessage::Unknown(problem));
            }
        };
        let subjects = value
            .get("subjects")
            .and_then(Value::as_array)
            .ok_or_else(|| shape("`subjects` is not a list"))?
            .iter()
            .map(|subject| {
                let text = subject.as_str().ok_or_else(|| shape("a subject is not a text"))?;
                text.parse::<Subject>().map_err(|err| MalformedMessage::Unknown(err.to_string()))
            })
            .collect::<Result<_, _>>()?;
        let signed_at = value.get("signed_at").and_then(Value::as_u64);
        let id = text("id").unwrap_or_default().to_owned();
        Ok((Self { id, cause, subjects }, signed_at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_round_trip() {
        let message = LogMessage {
            id: "p-1".into(),
            cause: Cause::Purge,
            subjects: vec![
                "k:v1:catalog:price:42".parse().unwrap(),
                "t:product-42".parse().unwrap(),
                Subject::Everything,
            ],
        };
        let json = message.to_json().unwrap();
        assert_eq!(
            json,
            r#"{"id":"p-1","cause":"purge","subjects":["k:v1:catalog:price:42","t:product-42","*"]}"#
        );
        assert_eq!(LogMessage::from_json(json.as_bytes()).unwrap(), message);
    }

    #[test]
    fn malformed_text_names_reason() {
        let reason = |text: &str| LogMessage::from_json(text.as_bytes()).unwrap_err().to_string();
        assert!(reason("").starts_with("it is not JSON"));
        assert_eq!(reason("{}"), "`cause` is missing");
        assert_eq!(
            reason(r#"{"cause":"commit","subjects":[]}"#),
            r#"`cause` is "commit", not `purge` or `application`; it invalidates everything"#
        );
        assert_eq!(reason(r#"{"cause":"purge","subjects":"*"}"#), "`subjects` is not a list");
        assert_eq!(reason(r#"{"cause":"purge","subjects":[1]}"#), "a subject is not a text");
        assert!(reason(r#"{"cause":"purge","subjects":["t:"]}"#).contains("subject"));
        assert!(LogMessage::from_json(&[0xff, 0xfe]).is_err());
        let huge = format!(r#"{{"id":"{}"}}"#, "x".repeat(LogMessage::MAX_BYTES));
        assert!(reason(&huge).contains("at most 65536"));
    }

    #[test]
    fn large_request_is_split_and_complete() {
        let subjects: Vec<Subject> =
            (0..1_000).map(|n| format!("t:{n}-{}", "\"".repeat(200)).parse().unwrap()).collect();
        let message =
            LogMessage { id: "p-1".into(), cause: Cause::Purge, subjects: subjects.clone() };
        let parts = message.split();
        assert!(parts.len() > 1);
        let read = parts.iter().flat_map(|part| {
            let text = part.to_json().expect("small enough");
            let part = LogMessage::from_json(text.as_bytes()).expect("valid");
            assert_eq!((part.id.as_str(), part.cause), ("p-1", Cause::Purge));
            part.subjects
        });
        assert_eq!(read.collect::<Vec<_>>(), subjects);
        assert_eq!(LogMessage::everything("x").split(), [LogMessage::everything("x")]);
    }

    #[test]
    fn oversized_message_not_sent() {
        let tag: Subject = format!("t:{}", "x".repeat(200)).parse().unwrap();
        let message =
            LogMessage { id: String::new(), cause: Cause::Application, subjects: vec![tag; 400] };
        assert!(matches!(message.to_json(), Err(MessageTooLarge { bytes }) if bytes > 65536));
    }
}
