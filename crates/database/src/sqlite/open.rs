//! Opening a file.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::error::driver_error;
use crate::error::DatabaseError;

/// What a connection may do. No mode creates a file: a misspelt path must not become an empty database.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OpenMode {
    /// Read.
    ReadOnly,
    /// Read and write.
    ReadWrite,
}

/// Opens an existing database. `busy_timeout` limits the wait for another connection's lock.
///
/// # Errors
/// There is no such file, or it can't be opened.
pub fn open(
    path: &Path,
    mode: OpenMode,
    busy_timeout: Duration,
) -> Result<Connection, DatabaseError> {
    const OPERATION: &str = "opening the database";
    let mode = match mode {
        OpenMode::ReadOnly => OpenFlags::SQLITE_OPEN_READ_ONLY,
        OpenMode::ReadWrite => OpenFlags::SQLITE_OPEN_READ_WRITE,
    };
    let flags = mode | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(driver_error(OPERATION))?;
    connection.busy_timeout(busy_timeout).map_err(driver_error(OPERATION))?;
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_file_not_created() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("shop.db");
        for mode in [OpenMode::ReadOnly, OpenMode::ReadWrite] {
            let err = open(&path, mode, Duration::ZERO).expect_err("no such file");
            assert!(err.to_string().starts_with("opening the database: "), "{err}");
            assert!(!path.exists());
        }
    }

    #[test]
    fn read_only_connection_refuses_write() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("shop.db");
        drop(Connection::open(&path).expect("a file"));
        let create = |mode| {
            let connection = open(&path, mode, Duration::ZERO).expect("it opens");
            connection.execute_batch("create table if not exists t(id)")
        };
        create(OpenMode::ReadOnly).expect_err("read only");
        create(OpenMode::ReadWrite).expect("written");
    }
}
