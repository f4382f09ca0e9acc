//! Why a connection could not be encrypted, in terms of the options and of the certificates.

use std::error::Error as StdError;
use std::io;

use rustls::AlertDescription as Alert;
use rustls::CertificateError as Reason;
use rustls::Error;
use thiserror::Error as ThisError;

use crate::options::{OptionNames, Roots, TlsOptions};

/// Why a connection could not be encrypted.
#[derive(Debug, ThisError)]
pub enum TlsFailure {
    /// The options, the files or the certificates have to be changed.
    #[error("{problem}; {remedy}")]
    Misconfigured {
        /// The problem, without a full stop.
        problem: String,
        /// The remedy, without a full stop.
        remedy: String,
    },
    /// The connection was lost. A retry may help.
    #[error("{0}")]
    Lost(Box<dyn StdError + Send + Sync>),
}

impl TlsFailure {
    pub(crate) fn misconfigured(problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Misconfigured { problem: problem.into(), remedy: remedy.into() }
    }

    pub(crate) fn lost(err: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Lost(err.into())
    }

    /// Explains the error of a handshake; `None`: the connection was lost.
    #[must_use]
    pub fn of_handshake(err: &io::Error, host: &str, options: &TlsOptions) -> Option<Self> {
        Some(match tls_error(err)? {
            Error::InvalidCertificate(reason) => of_certificate(reason, host, options),
            Error::AlertReceived(alert) => of_alert(*alert, options.names),
            Error::PeerIncompatible(why) => Self::misconfigured(
                format!("the server offers no TLS that can be used: {why:?}"),
                "allow TLS 1.2 or 1.3, and ciphers with forward secrecy, in the server",
            ),
            _ => return None,
        })
    }
}

/// Explains an alert by which a server ends a connection after the handshake, such as TLS 1.3's refusal of a client
/// certificate; `None` for any other error.
#[must_use]
pub fn alert_of(err: &io::Error, names: &OptionNames) -> Option<TlsFailure> {
    match tls_error(err) {
        Some(Error::AlertReceived(alert)) => Some(of_alert(*alert, names)),
        _ => None,
    }
}

fn tls_error(err: &io::Error) -> Option<&Error> {
    err.get_ref()?.downcast_ref()
}

fn of_certificate(reason: &Reason, host: &str, options: &TlsOptions) -> TlsFailure {
    let OptionNames { authorities, any_name, .. } = options.names;
    match reason {
        Reason::NotValidForName | Reason::NotValidForNameContext { .. } => {
            let presented = match reason {
                Reason::NotValidForNameContext { presented, .. } if presented.is_empty() => {
                    "names no host in its subject alternative names".to_owned()
                }
                Reason::NotValidForNameContext { presented, .. } => {
                    format!("is for {}", presented.join(", "))
                }
                _ => "has other names".to_owned(),
            };
            let problem = format!("the server's certificate {presented}, not for `{host}`");
            let remedy = format!(
                "use a host name that the certificate has, issue it with subjectAltName=DNS:{host}, or {any_name}"
            );
            TlsFailure::misconfigured(problem, remedy)
        }
        Reason::Expired | Reason::ExpiredContext { .. } => TlsFailure::misconfigured(
            format!("the server's certificate can't be used: {reason}"),
            "renew it, or set the clock of this machine",
        ),
        Reason::NotValidYet | Reason::NotValidYetContext { .. } => TlsFailure::misconfigured(
            format!("the server's certificate can't be used yet: {reason}"),
            "set the clock of this machine",
        ),
        // Another authority of the same name: one that was made again.
        reason
            if matches!(reason, Reason::UnknownIssuer | Reason::BadSignature)
                || is_self_signed(reason) =>
        {
            let (trusted, remedy) = match &options.roots {
                Roots::System => (
                    "this machine trusts".to_owned(),
                    format!(
                        "name the authority's certificate in {authorities}=FILE; managed databases publish a bundle"
                    ),
                ),
                Roots::File(path) => (
                    format!("{} has", path.display()),
                    "add the certificate of the authority that has signed it to the file"
                        .to_owned(),
                ),
            };
            let problem =
                format!("the server's certificate is not signed by an authority that {trusted}");
            TlsFailure::misconfigured(problem, remedy)
        }
        reason => TlsFailure::misconfigured(
            format!("the server's certificate can't be used: {reason}"),
            "issue a certificate with X.509 version 3 for a server",
        ),
    }
}

/// Whether a certificate has the form of an authority's, as `openssl req -x509` makes one, and is not trusted itself.
fn is_self_signed(reason: &Reason) -> bool {
    matches!(reason, Reason::Other(other) if other.to_string().contains("CaUsedAsEndEntity"))
}

fn of_alert(alert: Alert, names: &OptionNames) -> TlsFailure {
    let OptionNames { certificate, key, .. } = names;
    let remedy = match alert {
        Alert::CertificateRequired => {
            format!("name a client certificate in {certificate}, and its key in {key}")
        }
        Alert::UnknownCA
        | Alert::BadCertificate
        | Alert::CertificateExpired
        | Alert::CertificateRevoked
        | Alert::CertificateUnknown
        | Alert::UnsupportedCertificate
        | Alert::AccessDenied
        | Alert::DecryptError => format!(
            "name a valid client certificate in {certificate}, signed by an authority that the server trusts"
        ),
        Alert::ProtocolVersion => "allow TLS 1.2 or 1.3 in the server".to_owned(),
        _ => "see the server's log".to_owned(),
    };
    TlsFailure::misconfigured(format!("the server refused TLS with the alert {alert:?}"), remedy)
}
