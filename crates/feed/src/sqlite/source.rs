//! Requests to an SQLite database.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use coherence::{Log, Lsn, server_digest};
use database::sqlite::driver_error;
use parking_lot::Mutex;
use rusqlite::Connection;

use super::connection::{FileId, file_id, open_identified};
use super::log;
use crate::error::FeedError;
use crate::event::{Identity, LogEnd};
use crate::message::LogMessage;
use crate::source::Source;

/// Serves requests about an SQLite database's change log.
///
/// The first [`SqliteFeed`](super::SqliteFeed) creates the log; until then every request fails with
/// [`FeedError::Unavailable`].
#[derive(Clone)]
pub struct SqliteSource {
    path: Arc<PathBuf>,
    connection: Arc<Mutex<Option<(Connection, FileId)>>>,
}

impl SqliteSource {
    /// Opens the database on the first request.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: Arc::new(path.into()), connection: Arc::default() }
    }

    async fn run<T: Send + 'static>(
        &self,
        request: impl FnOnce(&Connection, FileId) -> Result<T, FeedError> + Send + 'static,
    ) -> Result<T, FeedError> {
        let this = self.clone();
        let result = tokio::task::spawn_blocking(move || {
            let mut slot = this.connection.lock();
            let (connection, file) = match slot.take() {
                Some((connection, file)) if file_id(&this.path)? == file => (connection, file),
                _ => open_identified(&this.path)?,
            };
            let result = request(&connection, file);
            // After an error the file is opened again.
            if result.is_ok() {
                *slot = Some((connection, file));
            }
            result
        });
        result.await.unwrap_or_else(|err| Err(FeedError::unavailable("querying the database", err)))
    }

    async fn append(&self, text: Option<String>) -> Result<Lsn, FeedError> {
        self.run(move |connection, _| {
            let position = log::append(connection, text.as_deref());
            Ok(position.map_err(driver_error("writing to the change log"))?)
        })
        .await
    }
}

#[async_trait]
impl Source for SqliteSource {
    async fn log_end(&self) -> Result<LogEnd, FeedError> {
        self.run(|connection, file| {
            let end = log::end(connection);
            let lsn = Lsn(end.map_err(driver_error("reading the end of the change log"))?);
            let system = system(connection, file)?;
            // The file has no server, and so no start of one.
            let server = Log { system, timeline: 1, server: server_digest("") }.run().server;
            Ok(LogEnd { system, timeline: 1, server, lsn })
        })
        .await
    }

    async fn emit(&self, message: &LogMessage) -> Result<Lsn, FeedError> {
        self.append(Some(message.to_json()?)).await
    }

    async fn nudge(&self) -> Result<(), FeedError> {
        self.append(None).await.map(|_| ())
    }

    async fn identity(&self) -> Result<Identity, FeedError> {
        self.run(|connection, file| {
            let system = system(connection, file)?;
            Ok(Identity { system, timeline: 1, server_started: String::new() })
        })
        .await
    }
}

fn system(connection: &Connection, file: FileId) -> Result<u64, FeedError> {
    let system = log::system(connection)?.ok_or_else(|| {
        FeedError::unavailable("reading the database's identity", "it has no change log yet")
    })?;
    Ok(log::identity(system, file))
}
