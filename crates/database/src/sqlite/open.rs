//! Opening a file.

use std::cell::Cell;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::OpenFlags;
use rusqlite::config::DbConfig;

use super::error::driver_error;
use super::file::{FileId, wal_index};
use crate::error::DatabaseError;

const OPERATION: &str = "opening the database";

/// How often a file that is replaced while it is opened is opened again.
const ATTEMPTS: usize = 3;

/// What a connection may do. No mode creates a file: a misspelt path must not become an empty database.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OpenMode {
    /// Read.
    ReadOnly,
    /// Read and write.
    ReadWrite,
}

/// A connection, and the file that it has opened. Its path may name another file later.
#[derive(Debug)]
pub struct FileConnection {
    connection: rusqlite::Connection,
    path: PathBuf,
    file: FileId,
    /// The index of the write-ahead log; `None` while the database has none.
    wal_index: Cell<Option<FileId>>,
}

impl FileConnection {
    /// Opens an existing database. `busy_timeout` limits the wait for another connection's lock.
    ///
    /// # Errors
    /// There is no such file, or it can't be opened.
    pub fn open(
        path: &Path,
        mode: OpenMode,
        busy_timeout: Duration,
    ) -> Result<Self, DatabaseError> {
        let mode = match mode {
            OpenMode::ReadOnly => OpenFlags::SQLITE_OPEN_READ_ONLY,
            OpenMode::ReadWrite => OpenFlags::SQLITE_OPEN_READ_WRITE,
        };
        let flags = mode | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        for _ in 0..ATTEMPTS {
            let file = FileId::of(path)?;
            let connection = rusqlite::Connection::open_with_flags(path, flags)
                .map_err(driver_error(OPERATION))?;
            connection.busy_timeout(busy_timeout).map_err(driver_error(OPERATION))?;
            // Else the last connection to be closed would copy a write-ahead log that was removed into the file
            // that an administrator has restored meanwhile.
            let keep_log =
                connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
            keep_log.map_err(driver_error(OPERATION))?;
            // The first read opens the write-ahead log.
            let read = connection.query_row("select count(*) from sqlite_master", [], |_| Ok(()));
            read.map_err(driver_error(OPERATION))?;
            let wal_index = Cell::new(wal_index(path)?);
            if FileId::of(path)? == file {
                return Ok(Self { connection, path: path.to_owned(), file, wal_index });
            }
        }
        Err(DatabaseError::unreachable(OPERATION, "the file was replaced meanwhile"))
    }

    /// Returns the identity of the file.
    #[must_use]
    pub fn file(&self) -> FileId {
        self.file
    }

    /// Whether the path still names the file, and other connections to it share its write-ahead log. If not,
    /// this connection reads a past state: open another one.
    ///
    /// # Errors
    /// The path names no file.
    pub fn is_current(&self) -> Result<bool, DatabaseError> {
        let index = wal_index(&self.path)?;
        let known = self.wal_index.get();
        if known.is_none() {
            self.wal_index.set(index);
        }
        Ok(FileId::of(&self.path)? == self.file && (known.is_none() || known == index))
    }
}

impl Deref for FileConnection {
    type Target = rusqlite::Connection;

    fn deref(&self) -> &Self::Target {
        &self.connection
    }
}

impl DerefMut for FileConnection {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.connection
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn folder_with_database() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("shop.db");
        let shop = rusqlite::Connection::open(&path).expect("a file");
        shop.execute_batch("pragma journal_mode = wal; create table t(id)").expect("a table");
        (folder, path)
    }

    #[test]
    fn missing_file_not_created() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("shop.db");
        for mode in [OpenMode::ReadOnly, OpenMode::ReadWrite] {
            let err = FileConnection::open(&path, mode, Duration::ZERO).expect_err("no such file");
            assert!(err.to_string().starts_with("finding the database: "), "{err}");
            assert!(!path.exists());
        }
    }

    #[test]
    fn read_only_connection_refuses_write() {
        let (_folder, path) = folder_with_database();
        let create = |mode| {
            let connection = FileConnection::open(&path, mode, Duration::ZERO).expect("it opens");
            connection.execute_batch("create table if not exists u(id)")
        };
        create(OpenMode::ReadOnly).expect_err("read only");
        create(OpenMode::ReadWrite).expect("written");
    }

    #[test]
    fn connection_to_past_state_noticed() {
        let (folder, path) = folder_with_database();
        let open = || {
            let opened = FileConnection::open(&path, OpenMode::ReadWrite, Duration::ZERO);
            let opened = opened.expect("it opens");
            opened.execute_batch("insert into t values (1)").expect("written");
            assert!(opened.is_current().expect("a file"));
            opened
        };
        let connection = open();
        for suffix in ["-wal", "-shm"] {
            fs::remove_file(format!("{}{suffix}", path.display())).expect("removed");
        }
        assert!(!connection.is_current().expect("a file"), "its log was removed");
        drop(connection);
        let other = open();
        let copy = folder.path().join("copy.db");
        fs::copy(&path, &copy).expect("copied");
        fs::rename(&copy, &path).expect("replaced");
        assert!(!other.is_current().expect("a file"));
        fs::remove_file(&path).expect("removed");
        other.is_current().expect_err("no file");
    }
}
