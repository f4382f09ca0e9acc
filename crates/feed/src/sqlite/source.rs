use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use coherence::Lsn;
use parking_lot::Mutex;
use rusqlite::Connection;

use super::{failed, open, schema};
use crate::Source;
use crate::error::FeedError;
use crate::event::{Identity, LogEnd};
use crate::message::LogMessage;

/// Asks an SQLite database about its change log.
///
/// The log is made by the first [`SqliteFeed`](super::SqliteFeed); until then every question fails
/// with [`FeedError::Unavailable`].
#[derive(Clone)]
pub struct SqliteSource {
    path: Arc<PathBuf>,
    connection: Arc<Mutex<Option<Connection>>>,
}

impl SqliteSource {
    /// Opens the database on the first question.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: Arc::new(path.into()), connection: Arc::default() }
    }

    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Connection) -> Result<T, FeedError> + Send + 'static,
    ) -> Result<T, FeedError> {
        let this = self.clone();
        let answer = tokio::task::spawn_blocking(move || {
            let mut slot = this.connection.lock();
            let connection = match slot.take() {
                Some(connection) => connection,
                None => open(&this.path)?,
            };
            let answer = question(&connection);
            // After an error it is opened again: the file may have been replaced.
            if answer.is_ok() {
                *slot = Some(connection);
            }
            answer
        });
        answer.await.unwrap_or_else(|err| Err(FeedError::unavailable("asking the database", err)))
    }

    async fn append(&self, text: Option<String>) -> Result<Lsn, FeedError> {
        let op = if text.is_some() { "M" } else { "N" };
        self.ask(move |connection| {
            let sql = format!(
                "insert into _tidegate_changes(at_us, op, new) values ({}, ?1, ?2)",
                schema::NOW_US
            );
            connection
                .prepare_cached(&sql)
                .and_then(|mut insert| insert.insert((op, text)))
                .map(|seq| Lsn(seq.cast_unsigned()))
                .map_err(failed("writing into the change log"))
        })
        .await
    }
}

#[async_trait]
impl Source for SqliteSource {
    async fn log_end(&self) -> Result<LogEnd, FeedError> {
        self.ask(|connection| {
            let lsn = Lsn(schema::log_end(connection)?);
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
        self.ask(|connection| {
            let system = system(connection)?;
            Ok(Identity { system, timeline: 1, server_started: String::new() })
        })
        .await
    }
}

fn system(connection: &Connection) -> Result<u64, FeedError> {
    schema::system(connection)?.ok_or_else(|| {
        FeedError::unavailable("asking who the database is", "it has no change log yet")
    })
}
