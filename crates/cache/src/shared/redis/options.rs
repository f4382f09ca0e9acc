//! The settings of the tier in Redis.

use std::path::PathBuf;
use std::time::Duration;

use contract::SigningKeys;
use contract::config::ValueError;
use redis_transport::{Endpoint, RedisLogin, RedisTls};

use super::metrics::RedisMetrics;
use crate::shared::error::TierError;

/// The longest prefix, in characters.
const PREFIX_MAX: usize = 32;

/// How to connect to Redis or Valkey, and how to use it.
#[derive(Clone)]
pub struct RedisOptions {
    /// `redis://[user:password@]host[:port][/database]`, or
    /// `redis+sentinel://[user:password@]host[:port],…/NAME[/database]` with the addresses of sentinels and
    /// their name for the primary, or `redis+cluster://[user:password@]host[:port],…` with some nodes of a
    /// cluster. `rediss` in place of `redis` selects TLS, to sentinels and all nodes too.
    pub url: String,
    /// The file with the password, which is read for each connection, in place of one in the URL.
    pub password_file: Option<PathBuf>,
    /// The certificates for TLS.
    pub tls: RedisTls,
    /// The login of the sentinels, if they require one.
    pub sentinel: RedisLogin,
    /// The beginning of all keys: lower-case letters, digits and hyphens, at most 32. Two installations
    /// on one server need two prefixes.
    pub prefix: String,
    /// The source whose log this tier follows, if it is not the main one: letters, digits and `_`. It follows the
    /// prefix after a dot, which no prefix contains.
    pub source: Option<String>,
    /// The time limit of a call.
    pub timeout: Duration,
    /// The approximate number of messages that the node stream keeps for nodes that fall behind.
    pub stream_length: u64,
    /// The number of tombstones that are kept. The floor replaces the oldest ones beyond it.
    pub tombstones: u64,
    /// The keys that sign and verify entries and messages. `None`: Redis is trusted.
    pub signing: Option<SigningKeys>,
    /// Whether values without a signature are used although there are keys: while keys are introduced.
    pub accepts_unsigned: bool,
    /// The counters.
    pub metrics: RedisMetrics,
}

impl RedisOptions {
    /// Returns options with the prefix `tg`, 50 ms, 10,000 messages and 1,000,000 tombstones.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            password_file: None,
            tls: RedisTls::default(),
            sentinel: RedisLogin::default(),
            prefix: "tg".to_owned(),
            source: None,
            timeout: Duration::from_millis(50),
            stream_length: 10_000,
            tombstones: 1_000_000,
            signing: None,
            accepts_unsigned: false,
            metrics: RedisMetrics::default(),
        }
    }

    /// Checks the options without a connection.
    ///
    /// # Errors
    /// [`TierError::Unsuitable`] names the mistake, without the URL, which may contain a password.
    pub fn check(&self) -> Result<(), TierError> {
        self.endpoint().map(drop)
    }

    /// Whether the keys are divided among the shards of a cluster.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn is_divided(&self) -> Result<bool, TierError> {
        Ok(self.endpoint()?.is_cluster())
    }

    /// The beginning of the names of all keys.
    pub(super) fn key_prefix(&self) -> String {
        match &self.source {
            Some(source) => format!("{}.{source}", self.prefix),
            None => self.prefix.clone(),
        }
    }

    pub(super) fn endpoint(&self) -> Result<Endpoint, TierError> {
        parse_prefix(&self.prefix).map_err(|err| TierError::Unsuitable(err.to_string()))?;
        let endpoint = Endpoint::parse(&self.url, &self.tls, &self.sentinel)?;
        Ok(match &self.password_file {
            Some(path) => endpoint.with_password_file(path)?,
            None => endpoint,
        })
    }
}

/// Parses the beginning of all keys: 1 to 32 lower-case letters, digits and hyphens. A brace would select
/// the slot of a cluster.
///
/// # Errors
/// The text is another.
pub(crate) fn parse_prefix(text: &str) -> Result<String, ValueError> {
    let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    if (1..=PREFIX_MAX).contains(&text.len()) && text.bytes().all(allowed) {
        return Ok(text.to_owned());
    }
    let help = format!("use 1 to {PREFIX_MAX} of a-z, 0-9 and -");
    Err(ValueError::wrong_value(format!("`{text}` is not a prefix"), &help))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_prefix_or_brace_refused() {
        for prefix in ["", "a}b"] {
            let options = RedisOptions { prefix: prefix.into(), ..RedisOptions::new("redis://h") };
            assert!(options.check().is_err(), "{prefix:?}");
        }
    }
}
