//! Errors of shared tiers.

use std::time::Duration;

use redis_transport::TransportError;
use thiserror::Error;

/// The shared tier failed.
#[derive(Debug, Error)]
pub enum TierError {
    /// No answer within the time limit.
    #[error("the shared tier did not answer within {0:?}")]
    Timeout(Duration),
    /// It can't be reached, or the connection broke.
    #[error("the shared tier can't be reached: {0}")]
    Unavailable(String),
    /// A value under the tier's keys that the tier has not written.
    #[error("the shared tier contains a malformed value: {0}")]
    Malformed(String),
    /// Its version, settings or rights would break the guarantee. The text tells what to change.
    #[error("the shared tier can't be used: {0}")]
    Unsuitable(String),
}

impl From<TransportError> for TierError {
    fn from(err: TransportError) -> Self {
        match err {
            TransportError::Timeout(limit) => Self::Timeout(limit),
            TransportError::Unavailable(why) => Self::Unavailable(why),
            TransportError::Malformed(why) => Self::Malformed(why),
            TransportError::Unsuitable(why) => Self::Unsuitable(why),
        }
    }
}
