//! Requests to an SQLite database.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use coherence::{ClockTime, Log, Lsn};
use database::sqlite::{FileConnection, driver_error};
use parking_lot::Mutex;

use super::connection::open;
use super::lineage::{LogPoint, SeenHistory};
use super::log;
use super::schema::Schema;
use crate::error::FeedError;
use crate::event::{Identity, LogEnd};
use crate::message::LogMessage;
use crate::message_keys::MessageKeys;
use crate::source::Source;

/// Serves requests about an SQLite database's change log.
///
/// The first [`SqliteFeed`](super::SqliteFeed) creates the log; until then every request fails with
/// [`FeedError::Unavailable`].
#[derive(Clone)]
pub struct SqliteSource {
    path: Arc<PathBuf>,
    connection: Arc<Mutex<Option<FileConnection>>>,
    seen: SeenHistory,
    message_keys: MessageKeys,
}

impl SqliteSource {
    /// Opens the database on the first request. A node takes the source of its
    /// [feed](super::SqliteFeed::source) instead.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self::with_history(path, SeenHistory::default())
    }

    pub(super) fn with_history(path: impl Into<PathBuf>, seen: SeenHistory) -> Self {
        let path = Arc::new(path.into());
        let message_keys = MessageKeys::default();
        Self { path, connection: Arc::default(), seen, message_keys }
    }

    /// Also signs the messages that it writes.
    #[must_use]
    pub fn with_message_keys(self, message_keys: MessageKeys) -> Self {
        Self { message_keys, ..self }
    }

    async fn run<T: Send + 'static>(
        &self,
        request: impl FnOnce(&FileConnection, &SeenHistory) -> Result<T, FeedError> + Send + 'static,
    ) -> Result<T, FeedError> {
        let this = self.clone();
        let result = tokio::task::spawn_blocking(move || {
            let mut slot = this.connection.lock();
            let connection = match slot.take() {
                Some(connection) if connection.is_current()? => connection,
                _ => open(&this.path)?,
            };
            let result = request(&connection, &this.seen);
            if result.is_ok() {
                *slot = Some(connection);
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
        self.run(|connection, seen| {
            // Before the snapshot, which therefore contains it.
            let last = seen.last();
            let failed = || driver_error(READING_END);
            let transaction = connection.unchecked_transaction().map_err(failed())?;
            let log = log::read(&transaction)?.ok_or_else(no_log)?;
            let timeline = log.timeline(connection.file());
            let checked = Schema::checked(&transaction).map_err(failed())?;
            if checked != Some(Schema::current(&transaction).map_err(failed())?) {
                let problem =
                    "the schema has changed, and the feed has not checked its triggers yet";
                return Err(FeedError::unavailable(READING_END, problem));
            }
            if let Some((_, point)) = last.filter(|(last, _)| *last == timeline)
                && !point.is_in(&transaction).map_err(failed())?
            {
                let problem = "the change log went back: the file's content was replaced";
                return Err(FeedError::unavailable(READING_END, problem));
            }
            let end = LogPoint::end(&transaction).map_err(failed())?;
            seen.advance(timeline, end);
            let Log { system, timeline, server } = identity(&log, connection).log();
            Ok(LogEnd { system, timeline, server, lsn: Lsn(end.seq) })
        })
        .await
    }

    async fn clock(&self) -> Result<Option<ClockTime>, FeedError> {
        self.run(|connection, _| {
            let failed = driver_error("reading the clock");
            let micros: i64 = connection
                .query_row(database::sqlite::CLOCK_SQL, [], |row| row.get(0))
                .map_err(failed)?;
            Ok(u64::try_from(micros).ok().and_then(ClockTime::from_micros))
        })
        .await
    }

    async fn emit(&self, message: &LogMessage) -> Result<Lsn, FeedError> {
        self.append(Some(self.message_keys.write(message)?)).await
    }

    async fn nudge(&self) -> Result<(), FeedError> {
        self.append(None).await.map(|_| ())
    }

    async fn identity(&self) -> Result<Identity, FeedError> {
        self.run(|connection, _| {
            let log = log::read(connection)?.ok_or_else(no_log)?;
            Ok(identity(&log, connection))
        })
        .await
    }
}

const READING_END: &str = "reading the end of the change log";

fn identity(log: &log::Log, connection: &FileConnection) -> Identity {
    let file = connection.file();
    // The file has no server, and so no start of one.
    let server_started = String::new();
    Identity { system: log.identity(file), timeline: log.timeline(file), server_started }
}

fn no_log() -> FeedError {
    FeedError::unavailable("reading the database's identity", "it has no change log yet")
}
