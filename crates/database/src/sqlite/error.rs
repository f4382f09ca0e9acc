//! From the driver's errors.

use crate::error::{DatabaseError, Failure};

/// Returns a function that converts an error of the driver.
pub fn driver_error(operation: &'static str) -> impl FnOnce(rusqlite::Error) -> DatabaseError {
    move |err| DatabaseError { operation, failure: Failure::Sqlite(err) }
}
