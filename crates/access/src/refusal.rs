//! Why a request was refused before it was read.

use http::StatusCode;
use thiserror::Error;

use crate::rights::Role;

/// A refused request. The text is for its sender, and names the remedy.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum Refusal {
    /// There is no `Host`, or several, or it is malformed.
    #[error("{0}")]
    MalformedHost(&'static str),
    /// The name in `Host` is not one of this listener's. A browser sends the name that its user typed, so a
    /// page of another site, whose name was pointed at this address, is refused (DNS rebinding).
    #[error(
        "the host {0:?} is not one of this listener's names: use its IP address or `localhost`, or add the \
         name to `[access] hosts`"
    )]
    UnknownHost(String),
    /// A browser sends the request for a page of another site.
    #[error("the request comes from a page of {0:?}, another site")]
    ForeignOrigin(String),
    /// The request has no token.
    #[error(
        "an access token is needed: send `Authorization: Bearer TOKEN`; `tidegate token create` makes one"
    )]
    NoToken,
    /// The `Authorization` header is there twice, or is no bearer token.
    #[error("{0}")]
    MalformedToken(&'static str),
    /// The token is not in the list: it was never made, or was revoked.
    #[error("the access token is not valid: it was never made here, or has been revoked")]
    UnknownToken,
    /// The token has expired.
    #[error("the access token {0:?} has expired: make a new one with `tidegate token create`")]
    ExpiredToken(String),
    /// The list of tokens has been unreadable for too long, so no token can be judged.
    #[error("access tokens can't be checked at present: the node's log says why")]
    TokensUnreadable,
    /// The connection has no client certificate, and no tokens are accepted.
    #[error("a client certificate is needed, signed by an authority of `[access] client_ca`")]
    NoCertificate,
    /// No `[[access.client]]` has a name of the certificate.
    #[error("no `[[access.client]]` has a name of the client certificate {0:?}")]
    UnknownCertificate(String),
    /// The certificate has expired since the connection began.
    #[error("the client certificate {0:?} has expired: renew it, and connect again")]
    ExpiredCertificate(String),
    /// The role does not suffice.
    #[error("{action} needs the role {}, which {caller:?} does not have", needed.as_str())]
    Role {
        /// The name of the token or the certificate's entry.
        caller: String,
        /// The lowest role that suffices.
        needed: Role,
        /// The refused action.
        action: String,
    },
    /// The caller's rights do not include the contract.
    #[error("{caller:?} may not read the contract {contract:?}")]
    Contract {
        /// The name of the token or the certificate's entry.
        caller: String,
        /// The name in the request.
        contract: String,
    },
}

impl Refusal {
    /// Returns the status of the response.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::MalformedHost(_) => StatusCode::BAD_REQUEST,
            Self::UnknownHost(_) => StatusCode::MISDIRECTED_REQUEST,
            Self::ForeignOrigin(_)
            | Self::Role { .. }
            | Self::Contract { .. }
            | Self::UnknownCertificate(_) => StatusCode::FORBIDDEN,
            Self::NoToken
            | Self::NoCertificate
            | Self::ExpiredCertificate(_)
            | Self::MalformedToken(_)
            | Self::UnknownToken
            | Self::ExpiredToken(_) => StatusCode::UNAUTHORIZED,
            Self::TokensUnreadable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Returns the kind of the problem: a stable word.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::MalformedHost(_) | Self::UnknownHost(_) => "wrong-host",
            Self::ForeignOrigin(_)
            | Self::Role { .. }
            | Self::Contract { .. }
            | Self::UnknownCertificate(_) => "not-permitted",
            Self::NoToken
            | Self::NoCertificate
            | Self::ExpiredCertificate(_)
            | Self::MalformedToken(_)
            | Self::UnknownToken
            | Self::ExpiredToken(_) => "unauthenticated",
            Self::TokensUnreadable => "authentication-unavailable",
        }
    }

    /// Returns the title of the problem.
    #[must_use]
    pub fn title(&self) -> &'static str {
        match self {
            Self::MalformedHost(_) => "Invalid Host",
            Self::UnknownHost(_) => "Unknown host",
            Self::ForeignOrigin(_) => "Request of another site",
            Self::NoToken
            | Self::NoCertificate
            | Self::ExpiredCertificate(_)
            | Self::MalformedToken(_)
            | Self::UnknownToken
            | Self::ExpiredToken(_) => "Authentication failed",
            Self::TokensUnreadable => "Authentication not possible",
            Self::Role { .. } | Self::Contract { .. } | Self::UnknownCertificate(_) => {
                "Not permitted"
            }
        }
    }

    /// Returns the reason as a label of metrics.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::MalformedHost(_) | Self::UnknownHost(_) => "host",
            Self::ForeignOrigin(_) => "origin",
            Self::NoToken => "no_token",
            Self::MalformedToken(_) | Self::UnknownToken => "unknown_token",
            Self::ExpiredToken(_) => "expired_token",
            Self::NoCertificate => "no_certificate",
            Self::UnknownCertificate(_) => "unknown_certificate",
            Self::ExpiredCertificate(_) => "expired_certificate",
            Self::TokensUnreadable => "tokens_unreadable",
            Self::Role { .. } | Self::Contract { .. } => "not_permitted",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openapi::ACCESS_PROBLEMS;

    #[test]
    fn refusals_are_listed() {
        for refusal in [
            Refusal::MalformedHost("host"),
            Refusal::UnknownHost(String::new()),
            Refusal::ForeignOrigin(String::new()),
            Refusal::NoToken,
            Refusal::TokensUnreadable,
        ] {
            let is_listed = ACCESS_PROBLEMS
                .iter()
                .any(|kind| kind.word == refusal.kind() && refusal.status() == kind.status);
            assert!(is_listed, "{refusal:?}");
        }
    }
}
