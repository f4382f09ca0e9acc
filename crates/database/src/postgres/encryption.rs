//! Whether connections are encrypted, and in which order the ways to connect are tried.

use tls::TlsOptions;

/// `sslmode`, with libpq's meaning.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum SslMode {
    /// Never.
    Disable,
    /// Only if the server refuses a plain connection.
    Allow,
    /// If the server can.
    Prefer,
    /// Always, without verification.
    Require,
    /// Always, with verification of the authority.
    VerifyCa,
    /// Always, with verification of authority and name.
    VerifyFull,
}

impl SslMode {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Allow => "allow",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }

    /// Whether a plain connection is refused.
    pub(super) fn is_required(self) -> bool {
        matches!(self, Self::Require | Self::VerifyCa | Self::VerifyFull)
    }

    /// Returns the ways to connect, in the order in which they are tried.
    pub(super) fn ways(self) -> &'static [Way] {
        match self {
            Self::Disable => &[Way::Plain],
            Self::Allow => &[Way::Plain, Way::Tls],
            Self::Prefer => &[Way::TlsIfOffered, Way::Plain],
            Self::Require | Self::VerifyCa | Self::VerifyFull => &[Way::Tls],
        }
    }
}

/// A way to connect.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Way {
    Plain,
    Tls,
    /// Plain, if the server has no TLS.
    TlsIfOffered,
}

/// Whether and how connections are encrypted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Encryption {
    pub(super) mode: SslMode,
    pub(super) tls: TlsOptions,
}
