//! From the driver's errors.

use mysql_async::{DriverError, Error, IoError};
use tls::TlsFailure;

use super::url::MariaDbUrl;
use crate::error::{DatabaseError, Failure, ServerCode};

/// Converts an error of the driver. Its errors contain no secrets.
#[must_use]
pub fn driver_error(operation: &'static str, err: mysql_async::Error) -> DatabaseError {
    let failure = match err {
        mysql_async::Error::Server(err) => {
            Failure::Rejected { message: err.message, code: ServerCode::Number(err.code) }
        }
        err => Failure::Unreachable(Box::new(err)),
    };
    DatabaseError { operation, failure }
}

/// The number of MariaDB's error: it takes encrypted connections only.
const SECURE_TRANSPORT_REQUIRED: u16 = 3159;

/// Converts the error of opening a connection.
pub(super) fn connect_error(
    operation: &'static str,
    url: &MariaDbUrl,
    err: mysql_async::Error,
) -> DatabaseError {
    let misconfigured = |problem: &str, remedy: &str| {
        let failure = Failure::Misconfigured {
            database: url.name(),
            problem: problem.to_owned(),
            remedy: remedy.to_owned(),
        };
        DatabaseError { operation, failure }
    };
    let explained = match &err {
        Error::Driver(DriverError::NoClientSslFlagFromServer) => Some(misconfigured(
            "the server has no TLS, and the url has an ssl-mode",
            "set ssl_cert and ssl_key in the server's configuration, or connect over a trusted network with ssl-mode=DISABLED",
        )),
        Error::Server(err) if err.code == SECURE_TRANSPORT_REQUIRED => Some(misconfigured(
            "the server takes encrypted connections only",
            "add ssl-mode=VERIFY_IDENTITY&ssl-ca=FILE, or ssl-mode=REQUIRED, to the url",
        )),
        Error::Io(IoError::Tls(err)) => Some(misconfigured(
            &format!("TLS: {err}"),
            "name PEM files in ssl-ca, ssl-cert and ssl-key that Tidegate's user may read",
        )),
        Error::Io(IoError::Io(err)) => url.tls.as_deref().and_then(|tls| {
            match TlsFailure::of_handshake(err, url.opts.ip_or_hostname(), tls)? {
                TlsFailure::Misconfigured { problem, remedy } => {
                    Some(misconfigured(&format!("TLS: {problem}"), &remedy))
                }
                TlsFailure::Lost(_) => None,
            }
        }),
        _ => None,
    };
    explained.unwrap_or_else(|| driver_error(operation, err))
}
