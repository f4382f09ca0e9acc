//! Where Redis is and how it is used.

use std::fmt;
use std::time::Duration;

use super::super::TierError;
use super::metrics::RedisMetrics;
use super::place::Place;

/// How to reach and use Redis or Valkey.
#[derive(Clone)]
pub struct RedisOptions {
    /// `redis://[user:password@]host[:port][/database]`, or
    /// `redis+sentinel://[user:password@]host[:port],…/NAME[/database]` with the sentinels' addresses
    /// and what they call the primary, or `redis+cluster://[user:password@]host[:port],…` with some of a
    /// cluster's nodes. With `rediss` in the place of `redis`: over TLS, to the
    /// sentinels and to all nodes too.
    pub url: String,
    /// What TLS needs.
    pub tls: RedisTls,
    /// How to log into the sentinels, where they ask for that.
    pub sentinel: RedisLogin,
    /// What our keys begin with; lower-case letters, digits and hyphens, at most 32. Two
    /// installations on one server need two prefixes.
    pub prefix: String,
    /// How long any call may take.
    pub timeout: Duration,
    /// About how many messages the node stream keeps for nodes that fall behind.
    pub stream_length: u64,
    /// How many tombstones are kept: where there are more, the floor takes the place of the oldest.
    pub tombstones: u64,
    /// Where it counts.
    pub metrics: RedisMetrics,
}

/// Certificates, each the content of a PEM file.
#[derive(Clone, Default)]
pub struct RedisTls {
    /// Who is trusted to sign the server's certificate; `None`: whom this system trusts.
    pub ca: Option<Vec<u8>>,
    /// The certificate that is shown to the server; goes with `key`.
    pub cert: Option<Vec<u8>>,
    /// Its private key.
    pub key: Option<Vec<u8>>,
}

impl RedisTls {
    pub(super) fn is_set(&self) -> bool {
        self.ca.is_some() || self.cert.is_some() || self.key.is_some()
    }
}

/// A user and a password.
#[derive(Clone, Default)]
pub struct RedisLogin {
    /// `None`: the default user.
    pub user: Option<String>,
    /// `None`: no login.
    pub password: Option<String>,
}

impl RedisLogin {
    pub(super) fn is_set(&self) -> bool {
        self.user.is_some() || self.password.is_some()
    }
}

impl fmt::Debug for RedisLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let password = self.password.as_ref().map(|_| "***");
        f.debug_struct("RedisLogin").field("user", &self.user).field("password", &password).finish()
    }
}

impl fmt::Debug for RedisTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set = |part: &Option<Vec<u8>>| part.as_ref().map(|_| "***");
        f.debug_struct("RedisTls")
            .field("ca", &set(&self.ca))
            .field("cert", &set(&self.cert))
            .field("key", &set(&self.key))
            .finish()
    }
}

impl RedisOptions {
    /// Prefix `tg`, 50 ms, 10,000 messages.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            tls: RedisTls::default(),
            sentinel: RedisLogin::default(),
            prefix: "tg".to_owned(),
            timeout: Duration::from_millis(50),
            stream_length: 10_000,
            tombstones: 1_000_000,
            metrics: RedisMetrics::default(),
        }
    }

    /// Checks everything that can be checked without a connection.
    ///
    /// # Errors
    /// [`TierError::Unsuitable`] says what is wrong, without the URL, which may hold a password.
    pub fn check(&self) -> Result<(), TierError> {
        self.place().map(drop)
    }

    pub(super) fn place(&self) -> Result<Place, TierError> {
        let named = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        if self.prefix.is_empty() || self.prefix.len() > 32 || !self.prefix.bytes().all(named) {
            return Err(TierError::Unsuitable(format!(
                "the prefix {:?} is not 1 to 32 of a-z, 0-9 and -",
                self.prefix
            )));
        }
        Place::parse(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_cannot_break_the_hash_tag() {
        let options = RedisOptions { prefix: "a}b".into(), ..RedisOptions::new("redis://h") };
        assert!(options.check().is_err());
    }

    #[test]
    fn secrets_are_not_printed() {
        let login = RedisLogin { user: Some("u".into()), password: Some("secret".into()) };
        let tls = RedisTls { key: Some(b"secret".to_vec()), ..RedisTls::default() };
        let shown = format!("{login:?} {tls:?}");
        assert!(!shown.contains("secret") && !shown.contains("115"), "{shown}");
    }
}
