//! Errors of the transport.

use std::time::Duration;

use redis::{ErrorKind, RedisError, ServerErrorKind};
use thiserror::Error;

use crate::server::is_login_refused;

/// The code of the error of a server without memory.
const OUT_OF_MEMORY: &str = "OOM";

/// A call to Redis failed.
#[derive(Debug, Error)]
pub enum TransportError {
    /// No reply within the time limit. A retry may help.
    #[error("Redis did not answer within {0:?}")]
    Timeout(Duration),
    /// Redis can't be reached, or the connection broke. A retry may help.
    #[error("Redis can't be reached: {0}")]
    Unavailable(String),
    /// Its memory is used up, and its eviction policy frees none. No retry helps before some is free.
    #[error("Redis has no memory left: {0}")]
    Full(String),
    /// A reply that the caller can't use, or an error of a script. No retry helps.
    #[error("Redis answered something malformed: {0}")]
    Malformed(String),
    /// The server, its settings or the rights of its user do not meet the requirements. The text tells
    /// what to change. No retry helps before.
    #[error("Redis can't be used: {0}")]
    Unsuitable(String),
}

impl TransportError {
    pub(crate) fn login_refused(err: &RedisError) -> Self {
        Self::Unsuitable(format!(
            "it refuses the login ({err}); write user and password into the url, or the password's file \
             into password_file"
        ))
    }

    /// Classifies an error of a call with this time limit.
    #[must_use]
    pub fn from_redis(err: &RedisError, limit: Duration) -> Self {
        if err.is_timeout() {
            return Self::Timeout(limit);
        }
        if is_login_refused(err) {
            return Self::login_refused(err);
        }
        // In a script of Redis 6.2 it is a part of the script's error.
        let is_in_script = |detail: &str| detail.contains("OOM command not allowed");
        if err.code() == Some(OUT_OF_MEMORY) || err.detail().is_some_and(is_in_script) {
            return Self::Full("used memory > maxmemory".to_owned());
        }
        match err.kind() {
            ErrorKind::UnexpectedReturnType | ErrorKind::Server(ServerErrorKind::ResponseError) => {
                Self::Malformed(err.to_string())
            }
            _ => Self::Unavailable(err.to_string()),
        }
    }
}
