//! Errors of origins.

use thiserror::Error;

/// An origin did not answer a load.
#[derive(Clone, Debug, Error)]
#[error("origin: {message}")]
pub struct OriginError {
    /// The kind of failure.
    pub kind: OriginErrorKind,
    /// For people: the failure, its place and its remedy.
    pub message: String,
}

impl OriginError {
    pub(super) fn broken(message: impl Into<String>) -> Self {
        Self { kind: OriginErrorKind::Broken, message: message.into() }
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self { kind: OriginErrorKind::BadRequest, message: message.into() }
    }

    pub(super) fn timeout(message: impl Into<String>) -> Self {
        Self { kind: OriginErrorKind::Timeout, message: message.into() }
    }

    pub(super) fn unavailable(message: impl Into<String>) -> Self {
        Self { kind: OriginErrorKind::Unavailable, message: message.into() }
    }
}

/// Kinds of [`OriginError`]. The kind tells whether a retry can help.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OriginErrorKind {
    /// It can't be reached, or the connection broke. A retry may help.
    Unavailable,
    /// It did not answer in time. A retry may help later.
    Timeout,
    /// It was not asked: its circuit breaker is open, or too many loads are under way. A retry helps later.
    Refused,
    /// It answered that the request is wrong, such as an id of the wrong type. No retry helps.
    BadRequest,
    /// Its answer is unusable. No retry helps until it is repaired.
    Broken,
    /// It answered with this HTTP status, which says that it failed (5xx). No retry helps until it is repaired.
    ServerError(u16),
}

impl OriginErrorKind {
    /// Returns the name used in metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
            Self::Refused => "refused",
            Self::BadRequest => "bad-request",
            Self::Broken => "broken",
            Self::ServerError(_) => "server-error",
        }
    }
}
