//! Connections to an SQLite database.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::connection_error::ConnectionError;

/// How long to wait for another connection's lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Opens an existing database.
pub(super) fn open(path: &Path) -> Result<Connection, ConnectionError> {
    const OPERATION: &str = "opening the database";
    // Without `CREATE`: a misspelt path must not become an empty database.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(driver_error(OPERATION))?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(driver_error(OPERATION))?;
    Ok(connection)
}

pub(super) fn driver_error(
    operation: &'static str,
) -> impl FnOnce(rusqlite::Error) -> ConnectionError {
    move |err| ConnectionError::unavailable(operation, err)
}
