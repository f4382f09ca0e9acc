//! From the driver's errors.

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
