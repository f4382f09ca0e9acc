//! Errors of shared tiers.

use std::sync::Arc;
use std::time::Duration;

use coherence::Conflict;
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
    /// Its memory is used up. Entries have to go before more can be written.
    #[error("the shared tier has no memory left: {0}")]
    Full(String),
    /// A value under the tier's keys that the tier has not written.
    #[error("the shared tier contains a malformed value: {0}")]
    Malformed(String),
    /// Its version, settings or rights would break the guarantee. The text tells what to change.
    #[error("the shared tier can't be used: {0}")]
    Unsuitable(String),
    /// It follows another log, and the leader of that one lives.
    #[error(
        "the shared tier follows {conflict}: {label}. Give each database a shared tier of its own \
         (`shared.prefix`, or another server), or stop the nodes of the other one; it is free {} s after \
         their leader ends",
        coherence::leadership::CLAIM_LIFETIME.as_secs()
    )]
    Claimed {
        /// The relation of that log to this node's own.
        conflict: Conflict,
        /// The database and the slot that are followed.
        label: Arc<str>,
    },
}

impl From<TransportError> for TierError {
    fn from(err: TransportError) -> Self {
        match err {
            TransportError::Timeout(limit) => Self::Timeout(limit),
            TransportError::Unavailable(why) => Self::Unavailable(why),
            TransportError::Full(why) => Self::Full(why),
            TransportError::Malformed(why) => Self::Malformed(why),
            TransportError::Unsuitable(why) => Self::Unsuitable(why),
        }
    }
}
