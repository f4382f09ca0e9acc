//! The feed's own connections, and the file that each of them reads.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use database::DatabaseError;
use database::sqlite::OpenMode;
use rusqlite::Connection;

use crate::error::FeedError;

/// How long to wait for another connection's lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// A file's device and inode. A copy of a database has the same content and another file.
pub(super) type FileId = (u64, u64);

/// Returns the file under `path` now. A file that was moved away stays open, but is no longer written to.
pub(super) fn file_id(path: &Path) -> Result<FileId, FeedError> {
    let metadata = fs::metadata(path)
        .map_err(|err| FeedError::unavailable("reading the database's file", err))?;
    Ok((metadata.dev(), metadata.ino()))
}

/// Opens an existing database. Returns the file that the connection reads, too.
pub(super) fn open_identified(path: &Path) -> Result<(Connection, FileId), FeedError> {
    let file = file_id(path)?;
    let connection = open(path)?;
    if file_id(path)? != file {
        return Err(FeedError::unavailable("opening the database", "its file was replaced"));
    }
    Ok((connection, file))
}

/// Opens an existing database.
pub(super) fn open(path: &Path) -> Result<Connection, DatabaseError> {
    database::sqlite::open(path, OpenMode::ReadWrite, BUSY_TIMEOUT)
}
