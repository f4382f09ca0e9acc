//! Read-your-writes: whether an answer includes the writes of its reader.
//!
//! A writer receives a token: the position in the log at which all of its writes are committed. An
//! answer satisfies the token if its tier has applied the log up to that position
//! ([`CausalToken::reached`]), or if it was read from the primary after the token was issued.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::position::{Epoch, Log, Lsn};

/// A read-your-writes token: a lower limit for the position of an answer.
///
/// As text `v1.<log>.<position>`, opaque to applications; or `lsn=16/B374D848`, which an
/// application builds itself from `pg_current_wal_insert_lsn()`. The latter does not name its log, so
/// it is valid only if there was no failover in between.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct CausalToken {
    /// A digest of the log; `None` if the token does not name it.
    log: Option<u64>,
    position: Lsn,
}

/// Whether a tier, or an answer, has reached a token.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Reached {
    /// It includes everything that was committed up to the token.
    Yes,
    /// It may reach the token later.
    NotYet,
    /// It follows another log, and positions can't be compared.
    Never,
}

/// A text that is not a token.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error(
    "{0:?} is not a token; a token looks like v1.0123456789abcdef.16b374d848 or lsn=16/B374D848"
)]
pub struct ParseCausalTokenError(String);

impl ParseCausalTokenError {
    /// The text goes back to the client, so the error keeps no more than a token may have.
    pub(super) fn of(text: &str) -> Self {
        Self(text.chars().take(CausalToken::TEXT_MAX).collect())
    }
}

impl CausalToken {
    /// The longest text of a token, in bytes.
    pub const TEXT_MAX: usize = 3 + 16 + 1 + 16;

    /// Returns the token for everything up to `position` in `log`; `None` if the log is unknown.
    #[must_use]
    pub fn new(log: Option<Log>, position: Lsn) -> Self {
        Self { log: log.map(digest), position }
    }

    /// Returns whether a tier in `epoch` that has applied everything up to `applied` includes the writes
    /// of the token. For an entry, pass its τ as `applied`.
    #[must_use]
    pub fn reached(self, epoch: Option<Epoch>, applied: Lsn) -> Reached {
        // A tier without an epoch may be about to get one.
        let Some(epoch) = epoch else { return Reached::NotYet };
        if self.log.is_some_and(|log| log != digest(epoch.log())) {
            Reached::Never
        } else if applied >= self.position {
            Reached::Yes
        } else {
            Reached::NotYet
        }
    }

    /// Returns the token that is harder to reach in the log of `epoch`: one of another log, or else the later one.
    pub(super) fn stricter(self, other: Self, epoch: Option<Epoch>) -> Self {
        let rank = |token: Self| (token.reached(epoch, Lsn::MAX) == Reached::Never, token.position);
        if rank(other) > rank(self) { other } else { self }
    }
}

impl fmt::Display for CausalToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.log {
            Some(log) => write!(f, "v1.{log:016x}.{:x}", self.position.0),
            None => write!(f, "lsn={}", self.position),
        }
    }
}

impl FromStr for CausalToken {
    type Err = ParseCausalTokenError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hex = |text: &str, most: usize| {
            // `from_str_radix` alone would take a sign.
            let digits = text.bytes().all(|b| b.is_ascii_hexdigit());
            let fits = digits && !text.is_empty() && text.len() <= most;
            fits.then(|| u64::from_str_radix(text, 16).ok()).flatten()
        };
        let parse = || {
            if let Some(position) = text.strip_prefix("lsn=") {
                let (high, low) = position.split_once('/')?;
                let position = Lsn(hex(high, 8)? << 32 | hex(low, 8)?);
                return Some(Self { log: None, position });
            }
            let (log, position) = text.strip_prefix("v1.")?.split_once('.')?;
            let log = if log.len() == 16 { hex(log, 16)? } else { return None };
            Some(Self { log: Some(log), position: Lsn(hex(position, 16)?) })
        };
        parse().ok_or_else(|| ParseCausalTokenError::of(text))
    }
}

/// The digest tells logs apart; it does not hide them.
fn digest(log: Log) -> u64 {
    let parts = [log.system, u64::from(log.timeline), log.server];
    contract::fnv1a(parts.iter().flat_map(|part| part.to_le_bytes()))
}

#[cfg(test)]
#[path = "causal_token_tests.rs"]
mod tests;
