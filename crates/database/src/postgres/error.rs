//! From the driver's errors.

use crate::error::{DatabaseError, Failure, ServerCode};

/// Converts an error of the driver. The driver displays "db error", or the kind of failure, and keeps the
/// details in the source.
#[must_use]
pub fn driver_error(operation: &'static str, err: &tokio_postgres::Error) -> DatabaseError {
    let failure = match (err.as_db_error(), std::error::Error::source(err)) {
        (Some(db), _) => Failure::Rejected {
            message: db.message().to_owned(),
            code: ServerCode::SqlState(db.code().code().to_owned()),
        },
        (None, Some(source)) => Failure::Unreachable(format!("{err}: {source}").into()),
        (None, None) => Failure::Unreachable(err.to_string().into()),
    };
    DatabaseError { operation, failure }
}
