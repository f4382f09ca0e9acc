//! The feed's own connections.

use std::path::Path;
use std::time::Duration;

use database::DatabaseError;
use database::sqlite::OpenMode;
use rusqlite::Connection;

/// How long to wait for another connection's lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Opens an existing database.
pub(super) fn open(path: &Path) -> Result<Connection, DatabaseError> {
    database::sqlite::open(path, OpenMode::ReadWrite, BUSY_TIMEOUT)
}
