//! Where Redis is and how it is used.

use std::time::Duration;

use redis::io::tcp::TcpSettings;
use redis::{ConnectionInfo, IntoConnectionInfo};

use super::super::TierError;
use super::metrics::RedisMetrics;

/// Unsent data is given up after this long, so that a connection into nothing is noticed.
const DEAD_AFTER: Duration = Duration::from_secs(2);

/// How to reach and use a Redis or Valkey server.
#[derive(Clone)]
pub struct RedisOptions {
    /// `redis://[user:password@]host[:port][/database]`.
    pub url: String,
    /// What our keys begin with; lower-case letters, digits and hyphens, at most 32. Two
    /// installations on one server need two prefixes.
    pub prefix: String,
    /// How long any call may take.
    pub timeout: Duration,
    /// About how many messages the node stream keeps for nodes that fall behind.
    pub stream_length: u64,
    /// Where it counts.
    pub metrics: RedisMetrics,
}

impl RedisOptions {
    /// Prefix `tg`, 50 ms, 10,000 messages.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            prefix: "tg".to_owned(),
            timeout: Duration::from_millis(50),
            stream_length: 10_000,
            metrics: RedisMetrics::default(),
        }
    }

    /// Checks everything that can be checked without a connection. Errors never show the URL,
    /// which may hold a password.
    pub(super) fn connection_info(&self) -> Result<ConnectionInfo, TierError> {
        let unsuitable = |what: String| Err(TierError::Unsuitable(what));
        let scheme = self.url.split_once("://").map_or("", |(scheme, _)| scheme);
        let later = |what: &str| {
            unsuitable(format!(
                "{scheme}:// ({what}) is not supported yet; use redis://host:port of one server"
            ))
        };
        match scheme {
            "redis" | "valkey" => {}
            "rediss" | "valkeys" => return later("TLS"),
            "redis+sentinel" | "sentinel" => return later("Sentinel"),
            "redis+cluster" => return later("Cluster"),
            "unix" | "redis+unix" => return later("Unix sockets"),
            _ => return unsuitable("its URL does not begin with redis://".to_owned()),
        }
        let named = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        if self.prefix.is_empty() || self.prefix.len() > 32 || !self.prefix.bytes().all(named) {
            return unsuitable(format!(
                "the prefix {:?} is not 1 to 32 of a-z, 0-9 and -",
                self.prefix
            ));
        }
        let tcp = TcpSettings::default().set_nodelay(true).set_user_timeout(DEAD_AFTER);
        match self.url.as_str().into_connection_info() {
            Ok(info) => Ok(info.set_tcp_settings(tcp)),
            Err(err) => unsuitable(format!("its URL can't be read: {}", err.category())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(url: &str) -> String {
        match RedisOptions::new(url).connection_info() {
            Err(err) => err.to_string(),
            Ok(_) => panic!("{url} was taken"),
        }
    }

    #[test]
    fn says_what_comes_later() {
        for (url, what) in [
            ("rediss://h:1", "TLS"),
            ("redis+sentinel://h:1/m", "Sentinel"),
            ("redis+cluster://h:1", "Cluster"),
            ("http://h", "redis://"),
            ("h:6379", "redis://"),
        ] {
            assert!(refused(url).contains(what), "{}", refused(url));
        }
        assert!(RedisOptions::new("redis://u:p@h:1/3").connection_info().is_ok());
    }

    #[test]
    fn shows_no_password() {
        assert!(!refused("redis://u:secret@h:1/x").contains("secret"));
        assert!(!refused("rediss://u:secret@h:1").contains("secret"));
    }

    #[test]
    fn a_prefix_cannot_break_the_hash_tag() {
        let options = RedisOptions { prefix: "a}b".into(), ..RedisOptions::new("redis://h") };
        assert!(options.connection_info().is_err());
    }
}
