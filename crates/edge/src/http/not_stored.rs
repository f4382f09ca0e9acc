//! The reasons why a response is not stored.

use super::changes_at::InvalidChangesAt;
use super::surrogate_key::InvalidTags;

/// The reason why a response is not stored.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum NotStored {
    Status,
    SetCookie,
    NoStore,
    Private,
    NoCache,
    /// The response has no explicit freshness, or is stale.
    NotFresh,
    /// `Vary` lists a field that is not in the key.
    Vary,
    /// The request has cookies, and the response is not explicitly shared.
    Cookie,
    /// The request has headers that a shared load does not send; the next load shares the page.
    Headers,
    /// `Surrogate-Key` is malformed or too long.
    Tags,
    /// `Tidegate-Changes-At` is malformed.
    ChangesAt,
    /// The body has neither `Content-Length` nor chunked encoding.
    Unframed,
    /// The body or a header exceeds its limit.
    TooLarge,
}

impl NotStored {
    pub(crate) const ALL: [Self; 13] = [
        Self::Status,
        Self::SetCookie,
        Self::NoStore,
        Self::Private,
        Self::NoCache,
        Self::NotFresh,
        Self::Vary,
        Self::Cookie,
        Self::Headers,
        Self::Tags,
        Self::ChangesAt,
        Self::Unframed,
        Self::TooLarge,
    ];

    /// The name in `Cache-Status` details and metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::SetCookie => "set-cookie",
            Self::NoStore => "no-store",
            Self::Private => "private",
            Self::NoCache => "no-cache",
            Self::NotFresh => "not-fresh",
            Self::Vary => "vary",
            Self::Cookie => "cookie",
            Self::Headers => "headers",
            Self::Tags => "surrogate-key",
            Self::ChangesAt => "tidegate-changes-at",
            Self::Unframed => "unframed",
            Self::TooLarge => "too-large",
        }
    }
}

impl From<InvalidChangesAt> for NotStored {
    fn from(_: InvalidChangesAt) -> Self {
        Self::ChangesAt
    }
}

impl From<InvalidTags> for NotStored {
    fn from(_: InvalidTags) -> Self {
        Self::Tags
    }
}
