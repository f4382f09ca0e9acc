//! From the driver's errors.

use std::io;

use tls::alert_of;
use tokio_postgres::error::DbError;

use super::stream::{OPERATION, tls_error};
use super::url::PostgresUrl;
use super::url_options::NAMES;
use crate::error::{DatabaseError, Failure, ServerCode};

/// Why a connection pooler that shares its sessions can't be used.
pub(super) const SHARED_SESSION: &str = "A connection pooler in front of it gives each transaction another \
                                         session of the database, without the settings and statements of \
                                         this one";

pub(super) const SHARED_SESSION_REMEDY: &str =
    "use the address of PostgreSQL itself, or set pool_mode = session in the pooler";

/// SQLSTATEs: a prepared statement does not exist, or exists already. A session of one client has neither.
const FOREIGN_STATEMENT: [&str; 2] = ["26000", "42P05"];

/// SQLSTATEs: there is no such column, table or function.
const UNKNOWN_NAME: [&str; 3] = ["42703", "42P01", "42883"];

/// Converts an error of the driver. The driver displays "db error", or the kind of failure, and keeps the
/// details in the source.
#[must_use]
pub fn driver_error(operation: &'static str, err: &tokio_postgres::Error) -> DatabaseError {
    let failure = match (err.as_db_error(), std::error::Error::source(err)) {
        (Some(db), _) if FOREIGN_STATEMENT.contains(&db.code().code()) => Failure::Rejected {
            message: format!("{}. {SHARED_SESSION}; {SHARED_SESSION_REMEDY}", db.message()),
            code: ServerCode::SqlState(db.code().code().to_owned()),
        },
        (Some(db), _) => Failure::Rejected {
            message: with_hint(db),
            code: ServerCode::SqlState(db.code().code().to_owned()),
        },
        (None, Some(source)) => Failure::Unreachable(format!("{err}: {source}").into()),
        (None, None) => Failure::Unreachable(err.to_string().into()),
    };
    DatabaseError { operation, failure }
}

/// Adds the server's hint to an error about a misspelt name, such as the column that was perhaps meant.
fn with_hint(err: &DbError) -> String {
    match err.hint().filter(|_| UNKNOWN_NAME.contains(&err.code().code())) {
        Some(hint) => format!("{}; {hint}", err.message()),
        None => err.message().to_owned(),
    }
}

/// Converts the error of a login to one of the hosts. A server with TLS 1.3 refuses a client certificate only after
/// the handshake.
pub(super) fn login_error(
    url: &PostgresUrl,
    at: usize,
    err: &tokio_postgres::Error,
) -> DatabaseError {
    let source = std::error::Error::source(err).and_then(|source| source.downcast_ref());
    match source.and_then(|source: &io::Error| alert_of(source, &NAMES)) {
        Some(failure) => tls_error(url, &url.hosts()[at], failure),
        None => driver_error(OPERATION, err),
    }
}
