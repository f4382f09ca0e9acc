//! The thread that follows the change log.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use coherence::Lsn;
use database::sqlite::driver_error;
use rusqlite::Connection;
use tokio::sync::mpsc::Sender;

use super::adaptive_poll::AdaptivePoll;
use super::connection::open;
use super::install::install;
use super::log::{self, Log};
use super::options::SqliteOptions;
use super::reader::{LogRead, LogReader};
use crate::error::FeedError;
use crate::event::{Commit, FeedEvent, LogBatch, StreamStart};

/// The pause after an error.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// The number of polls between two checks of the file's identity.
const FILE_CHECK_INTERVAL: u32 = 1_000;

const OPERATION: &str = "following the change log";

/// Changes after each commit of another connection, also of another process.
const DATA_VERSION: &str = "data_version";
/// Changes after each change of the schema.
const SCHEMA_VERSION: &str = "schema_version";

/// An event, or an error that an administrator has to resolve.
pub(super) type FeedResult = Result<FeedEvent, FeedError>;

/// The consumer was dropped.
struct Closed;

/// Follows the log until the consumer is dropped, or the database's setup has issues.
pub(super) fn follow(options: SqliteOptions, events: Sender<FeedResult>) {
    let reader = LogReader {
        source: options.source.clone(),
        tables: options.tables.clone(),
        metrics: options.metrics.clone(),
    };
    let mut follower = Follower { options, reader, events, position: None, file: None };
    loop {
        match follower.run_session() {
            Ok(Closed) => return,
            Err(err @ FeedError::Setup(_)) if follower.position.is_none() => {
                // If the consumer was dropped, the error is of no use.
                let _ = follower.events.blocking_send(Err(err));
                return;
            }
            Err(err) => {
                tracing::warn!(source = %follower.options.source, error = %err, "change feed lost");
                follower.options.metrics.leader.set(0);
                follower.options.metrics.reconnects.inc();
                if follower.events.blocking_send(Ok(FeedEvent::Lost(err))).is_err() {
                    return;
                }
                thread::sleep(RETRY_PAUSE);
            }
        }
    }
}

struct Follower {
    options: SqliteOptions,
    reader: LogReader,
    events: Sender<FeedResult>,
    /// The position up to which everything was delivered; `None` before the first session.
    position: Option<u64>,
    /// The file of the last session.
    file: Option<FileId>,
}

/// A file's device and inode.
type FileId = (u64, u64);

impl Follower {
    fn run_session(&mut self) -> Result<Closed, FeedError> {
        let mut connection = open(&self.options.path)?;
        let file = file_id(&self.options.path)?;
        let log = self.install(&mut connection)?;
        let position = match self.position {
            Some(position) if !log.created => position,
            _ => {
                log::first_position(&connection).map_err(driver_error("reading the change log"))?
            }
        };
        self.position = Some(position);
        let start = StreamStart {
            system: log.system,
            timeline: 1,
            slot_generation: log.created.then_some(log.generation),
            position: Lsn(position),
            server_started: String::new(),
            unbroken: !log.created && self.file.replace(file) == Some(file),
            schema: None,
        };
        self.options.metrics.leader.set(1);
        if self.send(FeedEvent::Started(start)).is_err() {
            return Ok(Closed);
        }
        self.poll_changes(&mut connection, position, file)
    }

    fn install(&self, connection: &mut Connection) -> Result<Log, FeedError> {
        let SqliteOptions { tables, keep, metrics, .. } = &self.options;
        let log = install(connection, tables, *keep, self.position.unwrap_or_default())?;
        if log.created {
            metrics.slots_created.inc();
        }
        Ok(log)
    }

    fn poll_changes(
        &mut self,
        connection: &mut Connection,
        mut position: u64,
        file: FileId,
    ) -> Result<Closed, FeedError> {
        let (mut data, mut schema) = (None, version(connection, SCHEMA_VERSION)?);
        let mut poll = AdaptivePoll::new(&self.options.path, self.options.poll);
        let (mut polls, mut quiet) = (0_u32, false);
        while !self.events.is_closed() {
            polls = polls.wrapping_add(1);
            let check_file = quiet || polls.is_multiple_of(FILE_CHECK_INTERVAL);
            if check_file && file_id(&self.options.path)? != file {
                return Err(FeedError::unavailable(OPERATION, "the file was replaced"));
            }
            let current = version(connection, DATA_VERSION)?;
            if data == Some(current) {
                quiet = poll.wait();
                continue;
            }
            // Taken before the read: a commit in between is read twice rather than missed.
            data = Some(current);
            if version(connection, SCHEMA_VERSION)? != schema {
                if self.install(connection)?.created {
                    return Err(FeedError::unavailable(OPERATION, "the change log was replaced"));
                }
                schema = version(connection, SCHEMA_VERSION)?;
            }
            loop {
                let read =
                    self.reader.read(connection, position).map_err(driver_error(OPERATION))?;
                let full = read.full;
                if let Some(batch) = self.batch(position, read) {
                    position = batch.upto.0;
                    self.position = Some(position);
                    if self.send(FeedEvent::Batch(batch)).is_err() {
                        return Ok(Closed);
                    }
                }
                if !full {
                    break;
                }
            }
        }
        Ok(Closed)
    }

    fn batch(&self, prev: u64, read: LogRead) -> Option<LogBatch> {
        if read.upto == prev {
            return None;
        }
        Commit::record(&read.commits, &self.options.metrics, &*self.options.clock);
        let upto = Lsn(read.upto);
        Some(LogBatch { prev: Lsn(prev), upto, watermark: upto, commits: read.commits })
    }

    fn send(&self, event: FeedEvent) -> Result<(), Closed> {
        self.events.blocking_send(Ok(event)).map_err(|_| Closed)
    }
}

fn version(connection: &Connection, pragma: &str) -> Result<i64, FeedError> {
    let read = || {
        let mut statement = connection.prepare_cached(&format!("pragma {pragma}"))?;
        statement.query_row([], |row| row.get(0))
    };
    Ok(read().map_err(driver_error(OPERATION))?)
}

/// A file that was moved away stays open, but is no longer written to.
fn file_id(path: &Path) -> Result<FileId, FeedError> {
    let metadata = fs::metadata(path).map_err(|err| FeedError::unavailable(OPERATION, err))?;
    Ok((metadata.dev(), metadata.ino()))
}
