//! Connections to one file.

use std::path::Path;
use std::time::Duration;

use coherence::Lsn;
use database::sqlite::{OpenMode, Pool, driver_error};
use rusqlite::Connection;

use crate::origin::error::OriginError;

/// Read-only connections to one file. They are opened as needed and kept for the next load.
#[derive(Clone)]
pub struct SqlitePool {
    pool: Pool,
    log_end: Option<&'static str>,
}

impl SqlitePool {
    /// Creates a pool without connections. `timeout`: how long a statement waits for a lock.
    #[must_use]
    pub fn new(path: &Path, timeout: Duration) -> Self {
        Self { pool: Pool::new(path, OpenMode::ReadOnly, timeout), log_end: None }
    }

    /// Sets the statement that returns the end of the log, one number. Each load runs it. While it fails,
    /// because there is no log yet, [`Loaded::seen`](crate::Loaded::seen) is `None`.
    #[must_use]
    pub fn with_log_end(self, sql: &'static str) -> Self {
        Self { log_end: Some(sql), ..self }
    }

    /// Closes the connections that no load uses now. Clones share them.
    pub fn close_idle(&self) {
        self.pool.close_idle();
    }

    /// Whether both are clones of one pool.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.pool.is_same(&other.pool)
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
        self.pool.with(work)
    }

    /// Runs `work` on a connection, on a thread that may block.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, OriginError> + Send + 'static,
    ) -> Result<T, OriginError> {
        self.pool.run(work).await
    }
}

pub(super) fn origin_error(err: rusqlite::Error) -> OriginError {
    // Origin errors don't show the operation.
    driver_error("loading")(err).into()
}
