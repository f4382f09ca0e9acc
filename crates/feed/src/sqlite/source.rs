//! Requests to an SQLite database.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use coherence::Lsn;
use database::sqlite::driver_error;
use parking_lot::Mutex;
use rusqlite::Connection;

use super::connection::open;
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
    connection: Arc<Mutex<Option<Connection>>>,
}

impl SqliteSource {
    /// Opens the database on the first request.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: Arc::new(path.into()), connection: Arc::default() }
    }

    async fn run<T: Send + 'static>(
        &self,
        request: impl FnOnce(&Connection) -> Result<T, FeedError> + Send + 'static,
    ) -> Result<T, FeedError> {
        let this = self.clone();
        let result = tokio::task::spawn_blocking(move || {
            let mut slot = this.connection.lock();
            let connection = match slot.take() {
                Some(connection) => connection,
                None => open(&this.path)?,
            };
            let result = request(&connection);
            // After an error the file is opened again: it may have been replaced.
            if result.is_ok() {
                *slot = Some(connection);
            }
            result
        });
        result.await.unwrap_or_else(|err| Err(FeedError::unavailable("querying the database", err)))
    }

    async fn append(&self, text: Option<String>) -> Result<Lsn, FeedError> {
        self.run(move |connection| {
            let position = log::append(connection, text.as_deref());
            Ok(position.map_err(driver_error("writing to the change log"))?)
        })
        .await
    }
}

#[async_trait]
impl Source for SqliteSource {
    async fn log_end(&self) -> Result<LogEnd, FeedError> {
        self.run(|connection| {
            let end = log::end(connection);
            let lsn = Lsn(end.map_err(driver_error("reading the end of the change log"))?);
            Ok(LogEnd { system: system(connection)?, timeline: 1, lsn })
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
        self.run(|connection| {
            let system = system(connection)?;
            Ok(Identity { system, timeline: 1, server_started: String::new() })
        })
        .await
    }
}

fn system(connection: &Connection) -> Result<u64, FeedError> {
    log::system(connection)?.ok_or_else(|| {
        FeedError::unavailable("reading the database's identity", "it has no change log yet")
    })
}
