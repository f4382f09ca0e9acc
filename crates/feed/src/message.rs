//! Requests that travel through the log itself.

use coherence::{Cause, Subject};
use serde_json::{Value, json};
use thiserror::Error;

use crate::error::FeedError;

/// A request (purge, application invalidate) that goes through the database's log, so that it has a
/// position and passes the same fence as a commit.
///
/// Its form in the log is JSON: `{"id":"…","cause":"purge","subjects":["k:…","t:…","*"]}`. On
/// PostgreSQL anybody may send one from inside a transaction, which then invalidates exactly when
/// that commits: `select pg_logical_emit_message(true, 'tidegate', '{…}')`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LogMessage {
    /// Names the request, for whoever waits for it; visible in logs.
    pub id: String,
    /// Who asked.
    pub cause: Cause,
    /// What shall go.
    pub subjects: Vec<Subject>,
}

/// Why a text in the log is no message. Such are counted and skipped: a stranger's mistake must not
/// stop the feed.
#[derive(Debug, Error)]
pub enum MalformedMessage {
    /// Larger than [`LogMessage::MAX_BYTES`].
    #[error("it has {bytes} bytes, at most {} are allowed", LogMessage::MAX_BYTES)]
    TooLarge {
        /// How many it has.
        bytes: usize,
    },
    /// Not JSON.
    #[error("it is no JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// JSON of another shape.
    #[error("{0}")]
    Shape(String),
}

impl LogMessage {
    /// The prefix of PostgreSQL's logical messages that are ours.
    pub const PREFIX: &'static str = "tidegate";

    /// The largest message in bytes of JSON.
    pub const MAX_BYTES: usize = 64 * 1024;

    /// Its form in the log.
    ///
    /// # Errors
    /// [`FeedError::TooLarge`]: send it in parts.
    pub fn to_json(&self) -> Result<String, FeedError> {
        let subjects: Vec<String> = self.subjects.iter().map(ToString::to_string).collect();
        let text = json!({ "id": self.id, "cause": self.cause.as_str(), "subjects": subjects })
            .to_string();
        if text.len() > Self::MAX_BYTES {
            return Err(FeedError::TooLarge { bytes: text.len() });
        }
        Ok(text)
    }

    /// Reads it back from the log, where anybody may have written anything.
    ///
    /// # Errors
    /// [`MalformedMessage`].
    pub fn from_json(bytes: &[u8]) -> Result<Self, MalformedMessage> {
        if bytes.len() > Self::MAX_BYTES {
            return Err(MalformedMessage::TooLarge { bytes: bytes.len() });
        }
        let value: Value = serde_json::from_slice(bytes)?;
        let shape = |text: &str| MalformedMessage::Shape(text.to_owned());
        let text = |name: &str| value.get(name).and_then(Value::as_str);
        let cause = match text("cause").ok_or_else(|| shape("`cause` is missing"))? {
            "purge" => Cause::Purge,
            "application" => Cause::Application,
            other => {
                let problem = format!("`cause` is {other:?}, not `purge` or `application`");
                return Err(MalformedMessage::Shape(problem));
            }
        };
        let subjects = value
            .get("subjects")
            .and_then(Value::as_array)
            .ok_or_else(|| shape("`subjects` is no list"))?
            .iter()
            .map(|subject| {
                let text = subject.as_str().ok_or_else(|| shape("a subject is no text"))?;
                text.parse::<Subject>().map_err(|err| MalformedMessage::Shape(err.to_string()))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { id: text("id").unwrap_or_default().to_owned(), cause, subjects })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_what_it_writes() {
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
    fn a_strangers_text_is_refused_with_a_reason() {
        let reason = |text: &str| LogMessage::from_json(text.as_bytes()).unwrap_err().to_string();
        assert!(reason("").starts_with("it is no JSON"));
        assert_eq!(reason("{}"), "`cause` is missing");
        assert_eq!(
            reason(r#"{"cause":"commit","subjects":[]}"#),
            r#"`cause` is "commit", not `purge` or `application`"#
        );
        assert_eq!(reason(r#"{"cause":"purge","subjects":"*"}"#), "`subjects` is no list");
        assert_eq!(reason(r#"{"cause":"purge","subjects":[1]}"#), "a subject is no text");
        assert!(reason(r#"{"cause":"purge","subjects":["t:"]}"#).contains("subject"));
        assert!(LogMessage::from_json(&[0xff, 0xfe]).is_err());
        let huge = format!(r#"{{"id":"{}"}}"#, "x".repeat(LogMessage::MAX_BYTES));
        assert!(reason(&huge).contains("at most 65536"));
    }

    #[test]
    fn one_that_is_too_large_is_not_sent() {
        let tag: Subject = format!("t:{}", "x".repeat(200)).parse().unwrap();
        let message =
            LogMessage { id: String::new(), cause: Cause::Application, subjects: vec![tag; 400] };
        assert!(matches!(message.to_json(), Err(FeedError::TooLarge { bytes }) if bytes > 65536));
    }
}
