//! The error of a read.

use std::time::Duration;

use thiserror::Error;

use crate::origin::{OriginError, OriginErrorKind};

/// A read that has no answer.
#[derive(Clone, Debug, Error)]
pub enum ReadError {
    /// Freshness can't be proven, and the contract says `fail`.
    #[error("freshness can't be proven: the bound is {bound:?}, the contract allows {budget:?}")]
    Unproven {
        /// The proven bound; `None`: nothing is proven.
        bound: Option<Duration>,
        /// The contract's budget.
        budget: Duration,
    },
    /// The load failed.
    #[error(transparent)]
    Origin(#[from] OriginError),
    /// The load was not admitted, to protect the origin: it has too many loads in progress for this
    /// priority class, or its circuit breaker is open.
    #[error("origin overloaded: {reason}")]
    Overloaded {
        /// `limit` or `breaker`.
        reason: &'static str,
        /// The time after which a retry may be admitted.
        retry_after: Duration,
    },
    /// The load of another reader took longer than this reader may wait.
    #[error("timed out after {0:?} waiting for a load in progress")]
    WaitTimeout(Duration),
    /// The items of an atomic batch can't be read from one snapshot.
    #[error("the origins of these items have no common snapshot")]
    NoCommonSnapshot,
    /// The load ended without a result (a panic in the origin's code).
    #[error("the load ended without a result")]
    Aborted,
}

impl ReadError {
    /// Returns the name used in metrics and logs.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Unproven { .. } => "unproven",
            Self::Origin(err) => err.kind.as_str(),
            Self::Overloaded { reason, .. } => reason,
            Self::WaitTimeout(_) => "waited",
            Self::NoCommonSnapshot => "apart",
            Self::Aborted => "aborted",
        }
    }

    /// Returns the time after which a retry may succeed; `None`: no retry can.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        const SOON: Duration = Duration::from_secs(1);
        match self {
            Self::Overloaded { retry_after, .. } => Some(*retry_after),
            Self::Origin(err) => match err.kind {
                OriginErrorKind::BadRequest | OriginErrorKind::Broken => None,
                // Of all of these, only 503 says that it ends.
                OriginErrorKind::ServerError(status) => (status == 503).then_some(SOON),
                OriginErrorKind::Unavailable
                | OriginErrorKind::Timeout
                | OriginErrorKind::Refused => Some(SOON),
            },
            Self::Unproven { .. } | Self::WaitTimeout(_) => Some(SOON),
            Self::NoCommonSnapshot | Self::Aborted => None,
        }
    }
}
