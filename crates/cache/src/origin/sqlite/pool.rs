//! Connections to one file.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use coherence::Lsn;
use parking_lot::Mutex;
use rusqlite::{Connection, OpenFlags};

use super::error::classify;
use crate::origin::error::OriginError;

/// Read-only connections to one file. They are opened as needed and kept for the next load.
#[derive(Clone)]
pub struct SqlitePool {
    path: PathBuf,
    idle: Arc<Mutex<Vec<Connection>>>,
    timeout: Duration,
    log_end: Option<&'static str>,
}

impl SqlitePool {
    /// Creates a pool without connections. `timeout`: how long a statement waits for a lock.
    #[must_use]
    pub fn new(path: &Path, timeout: Duration) -> Self {
        Self { path: path.to_owned(), idle: Arc::default(), timeout, log_end: None }
    }

    /// Sets the statement that returns the end of the log, one number. Each load runs it. While it fails,
    /// because there is no log yet, [`Loaded::seen`](crate::Loaded::seen) is `None`.
    #[must_use]
    pub fn with_log_end(self, sql: &'static str) -> Self {
        Self { log_end: Some(sql), ..self }
    }

    /// Whether both are clones of one pool.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.idle, &other.idle)
    }

    pub(super) fn end_of_log(&self, connection: &Connection) -> Option<Lsn> {
        let mut statement = connection.prepare_cached(self.log_end?).ok()?;
        let end = statement.query_row([], |row| row.get::<_, i64>(0)).ok()?;
        Some(Lsn(end.cast_unsigned()))
    }

    /// Runs `work` on a connection, on this thread.
    pub(super) fn with<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, OriginError>,
    ) -> Result<T, OriginError> {
        let idle = self.idle.lock().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => {
                let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
                let connection =
                    Connection::open_with_flags(&self.path, flags).map_err(classify)?;
                connection.busy_timeout(self.timeout).map_err(classify)?;
                connection
            }
        };
        let result = work(&connection);
        self.idle.lock().push(connection);
        result
    }

    /// Runs `work` on a connection, on a thread that may block.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, OriginError> + Send + 'static,
    ) -> Result<T, OriginError> {
        let pool = self.clone();
        let done = tokio::task::spawn_blocking(move || pool.with(work)).await;
        done.unwrap_or_else(|err| Err(OriginError::broken(err.to_string())))
    }
}
