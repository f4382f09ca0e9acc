//! From PostgreSQL's errors to origin errors.

use deadpool_postgres::PoolError;
use tokio_postgres::error::SqlState;

use crate::origin::error::{OriginError, OriginErrorKind};

/// Maps the error of a pool that gave no connection.
pub(super) fn no_connection(err: &PoolError) -> OriginError {
    match err {
        PoolError::Timeout(_) => {
            OriginError::timeout("no connection to the database became free in time")
        }
        PoolError::Backend(err) => classify(err),
        other => OriginError::unavailable(other.to_string()),
    }
}

/// Maps the error of a statement by its SQLSTATE class.
pub(super) fn classify(err: &tokio_postgres::Error) -> OriginError {
    let Some(db) = err.as_db_error() else {
        return OriginError::unavailable(format!("the database can't be reached: {err}"));
    };
    let state = db.code();
    let kind = match &state.code()[..2] {
        _ if *state == SqlState::QUERY_CANCELED => OriginErrorKind::Timeout,
        // Data exception: such as a letter in a numeric key.
        "22" => OriginErrorKind::BadRequest,
        // Connection exception, insufficient resources, operator intervention, system error.
        "08" | "53" | "57" | "58" => OriginErrorKind::Unavailable,
        _ => OriginErrorKind::Broken,
    };
    OriginError { kind, message: format!("{} (SQLSTATE {})", db.message(), state.code()) }
}
