//! Pools of connections.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rusqlite::Connection;

use super::open::{FileConnection, OpenMode};
use crate::error::DatabaseError;

/// Connections to one file. They are opened as needed and kept for the next use. Clones share them.
#[derive(Clone)]
pub struct Pool {
    path: PathBuf,
    mode: OpenMode,
    busy_timeout: Duration,
    idle: Arc<Mutex<Vec<FileConnection>>>,
}

impl Pool {
    /// Creates a pool without connections. `busy_timeout` limits a statement's wait for a lock.
    #[must_use]
    pub fn new(path: &Path, mode: OpenMode, busy_timeout: Duration) -> Self {
        Self { path: path.to_owned(), mode, busy_timeout, idle: Arc::default() }
    }

    /// Whether both are clones of one pool.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.idle, &other.idle)
    }

    /// Runs `work` on a connection, on this thread.
    ///
    /// # Errors
    /// The file can't be opened, or `work` fails.
    pub fn with<T, E: From<DatabaseError>>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, E>,
    ) -> Result<T, E> {
        let connection = match self.take_idle()? {
            Some(connection) => connection,
            None => FileConnection::open(&self.path, self.mode, self.busy_timeout)?,
        };
        let result = work(&connection);
        self.idle.lock().push(connection);
        result
    }

    /// Closes the connections that are not in use.
    pub fn close_idle(&self) {
        self.idle.lock().clear();
    }

    /// Returns an idle connection. If it is to a file that was replaced, all are closed: they would keep locks on
    /// it, and SQLite shares the index of the write-ahead log among the connections of a process.
    fn take_idle(&self) -> Result<Option<FileConnection>, DatabaseError> {
        let Some(connection) = self.idle.lock().pop() else { return Ok(None) };
        if connection.is_current()? {
            return Ok(Some(connection));
        }
        self.close_idle();
        Ok(None)
    }

    /// Runs `work` on a connection, on a thread that may block.
    ///
    /// # Errors
    /// The file can't be opened, or `work` fails or panics.
    pub async fn run<T, E>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<DatabaseError> + Send + 'static,
    {
        let pool = self.clone();
        let done = tokio::task::spawn_blocking(move || pool.with(work)).await;
        done.unwrap_or_else(|err| {
            Err(DatabaseError::unexpected("querying the database", err.to_string()).into())
        })
    }
}
