//! The feed's own connections.

use std::path::Path;
use std::time::Duration;

use database::DatabaseError;
use database::sqlite::{FileConnection, OpenMode};

/// How long to wait for another connection's lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Opens an existing database.
pub(super) fn open(path: &Path) -> Result<FileConnection, DatabaseError> {
    FileConnection::open(path, OpenMode::ReadWrite, BUSY_TIMEOUT)
}
