//! Replies of scripts.

use std::time::Duration;

use coherence::{CoverageDigest, LeaseToken, Lsn};
use redis::Value;

use crate::shared::error::TierError;
use crate::shared::tier::{Outcome, TierPosition};

/// The result of a script for one key.
pub(super) enum ScriptOutcome {
    /// An entry that the script accepts, as it is stored.
    Found {
        raw: Vec<u8>,
        remaining: Duration,
    },
    Other(Outcome),
}

/// The reply of a script: an array of the number of malformed values that it has found, and its own words.
#[derive(Debug)]
pub(super) struct Reply {
    words: std::vec::IntoIter<Value>,
}

impl Reply {
    /// Parses the array. Returns the number of malformed values with the rest.
    pub(super) fn parse(value: Value) -> Result<(u64, Self), TierError> {
        let Value::Array(words) = value else {
            return Err(unexpected(&value));
        };
        let mut reply = Self { words: words.into_iter() };
        let malformed = reply.number()?;
        Ok((malformed, reply))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.words.len() == 0
    }

    pub(super) fn bytes(&mut self) -> Result<Vec<u8>, TierError> {
        match self.words.next() {
            Some(Value::BulkString(bytes)) => Ok(bytes),
            other => Err(unexpected(&other.unwrap_or_default())),
        }
    }

    pub(super) fn text(&mut self) -> Result<String, TierError> {
        String::from_utf8(self.bytes()?).map_err(|_| {
            TierError::Malformed("a script replied with a string that is not UTF-8".into())
        })
    }

    pub(super) fn number(&mut self) -> Result<u64, TierError> {
        match self.words.next() {
            Some(Value::Int(number)) => {
                u64::try_from(number).map_err(|_| unexpected(&Value::Int(number)))
            }
            other => Err(unexpected(&other.unwrap_or_default())),
        }
    }

    pub(super) fn lsn(&mut self) -> Result<Lsn, TierError> {
        let text = self.text()?;
        text.parse().map(Lsn).map_err(|_| TierError::Malformed(format!("position {text:?}")))
    }

    /// Reads the digest of the mappings that a leader has stated. A malformed one covers nothing.
    pub(super) fn coverage(&mut self) -> Result<CoverageDigest, TierError> {
        let text = self.text()?;
        Ok(CoverageDigest(u64::from_str_radix(&text, 16).unwrap_or_default()))
    }

    /// Reads the result for a key.
    pub(super) fn outcome(&mut self, token: LeaseToken) -> Result<ScriptOutcome, TierError> {
        Ok(match self.text()?.as_str() {
            "found" => ScriptOutcome::Found {
                raw: self.bytes()?,
                remaining: Duration::from_millis(self.number()?),
            },
            "lead" => ScriptOutcome::Other(Outcome::Lead(token)),
            "wait" => ScriptOutcome::Other(Outcome::Wait(Duration::from_millis(self.number()?))),
            "miss" => ScriptOutcome::Other(Outcome::Miss),
            other => return Err(TierError::Malformed(format!("outcome {other:?}"))),
        })
    }

    /// Reads epoch, applied, watermark and coverage. `None`: the reply has ended, or the epoch is malformed.
    pub(super) fn position(&mut self) -> Result<Option<TierPosition>, TierError> {
        if self.is_empty() {
            return Ok(None);
        }
        let (epoch, applied, watermark) = (self.text()?, self.lsn()?, self.lsn()?);
        let coverage = self.coverage()?;
        let position = |epoch| TierPosition { epoch, applied, watermark, coverage };
        Ok(epoch.parse().ok().map(position))
    }
}

fn unexpected(value: &Value) -> TierError {
    TierError::Malformed(format!("a script replied with {}", kind(value)))
}

/// Names the kind of a value. The value itself may be anything, and is not shown.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Nil => "nil in the wrong place",
        Value::Int(_) => "a number in the wrong place",
        Value::BulkString(_) | Value::SimpleString(_) | Value::Okay => {
            "a string in the wrong place"
        }
        Value::Array(_) => "an array in the wrong place",
        _ => "a value of an unknown kind",
    }
}
