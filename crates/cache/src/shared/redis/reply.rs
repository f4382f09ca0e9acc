//! What a script answers, and what went wrong instead.

use std::time::Duration;

use coherence::{LeaseToken, Lsn};
use redis::{ErrorKind, RedisError, ServerErrorKind, Value};

use super::super::{Outcome, Standing, TierError};
use super::entry;

/// A script's answer, a list: how many malformed values it met, then its own words.
#[derive(Debug)]
pub(super) struct Reply {
    words: std::vec::IntoIter<Value>,
}

impl Reply {
    /// Takes the list apart; answers the number of malformed values with it.
    pub(super) fn open(value: Value) -> Result<(u64, Self), TierError> {
        let Value::Array(words) = value else {
            return Err(unexpected(&value));
        };
        let mut reply = Self { words: words.into_iter() };
        let malformed = reply.number()?;
        Ok((malformed, reply))
    }

    pub(super) fn is_over(&self) -> bool {
        self.words.len() == 0
    }

    pub(super) fn bytes(&mut self) -> Result<Vec<u8>, TierError> {
        match self.words.next() {
            Some(Value::BulkString(bytes)) => Ok(bytes),
            other => Err(unexpected(&other.unwrap_or_default())),
        }
    }

    pub(super) fn text(&mut self) -> Result<String, TierError> {
        String::from_utf8(self.bytes()?)
            .map_err(|_| TierError::Malformed("a script answered something that is no text".into()))
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

    /// What was found under a key; `None`: an entry that is not of our making.
    pub(super) fn outcome(&mut self, token: LeaseToken) -> Result<Option<Outcome>, TierError> {
        Ok(Some(match self.text()?.as_str() {
            "found" => {
                let entry = entry::decode(self.bytes()?);
                let remaining = Duration::from_millis(self.number()?);
                let Some(entry) = entry else { return Ok(None) };
                Outcome::Found { entry, remaining }
            }
            "lead" => Outcome::Lead(token),
            "wait" => Outcome::Wait(Duration::from_millis(self.number()?)),
            "miss" => Outcome::Miss,
            other => return Err(TierError::Malformed(format!("outcome {other:?}"))),
        }))
    }

    /// Epoch, applied, watermark; `None` at the end of the answer, and for a text that is none.
    pub(super) fn standing(&mut self) -> Result<Option<Standing>, TierError> {
        if self.is_over() {
            return Ok(None);
        }
        let (epoch, applied, watermark) = (self.text()?, self.lsn()?, self.lsn()?);
        Ok(epoch.parse().ok().map(|epoch| Standing { epoch, applied, watermark }))
    }
}

fn unexpected(value: &Value) -> TierError {
    TierError::Malformed(format!("a script answered a {}", kind(value)))
}

/// Not the value itself, which may be anything.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Nil => "nil where something else belongs",
        Value::Int(_) => "number where something else belongs",
        Value::BulkString(_) | Value::SimpleString(_) | Value::Okay => {
            "string where something else belongs"
        }
        Value::Array(_) => "list where something else belongs",
        _ => "value of an unknown kind",
    }
}

/// Sorts an error into the tier's own.
pub(super) fn failed(err: &RedisError, timeout: Duration) -> TierError {
    if err.is_timeout() {
        return TierError::Timeout(timeout);
    }
    match err.kind() {
        ErrorKind::UnexpectedReturnType | ErrorKind::Server(ServerErrorKind::ResponseError) => {
            TierError::Malformed(err.to_string())
        }
        _ => TierError::Unavailable(err.to_string()),
    }
}
