//! The thread that follows the change log.

use std::thread;
use std::time::Duration;

use coherence::{History, Lsn};
use database::sqlite::{FileConnection, FileId, driver_error};
use rusqlite::Connection;
use tokio::sync::mpsc::Sender;

use super::adaptive_poll::AdaptivePoll;
use super::catalog;
use super::connection::open;
use super::install::install;
use super::lineage::{LogPoint, SeenHistory};
use super::log::{self, Log};
use super::options::SqliteOptions;
use super::reader::{LogRead, LogReader};
use super::row::Encoding;
use super::schema::Schema;
use crate::error::FeedError;
use crate::event::{Commit, FeedEvent, LogBatch, LogEnd, StreamStart};

/// The pause after an error.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// The pause after the file was replaced. An administrator who moves a backup into place removes the
/// write-ahead log first, or afterwards; a write meanwhile would leave a log beside a file that it is not of.
const REPLACED_PAUSE: Duration = Duration::from_secs(1);

/// The triggers are checked again at most once in this many polls while the schema keeps its version.
const TRIGGER_CHECK_INTERVAL: u32 = 100;

const OPERATION: &str = "following the change log";

/// An event, or an error that an administrator has to resolve.
pub(super) type FeedResult = Result<FeedEvent, FeedError>;

/// The consumer was dropped.
struct Closed;

/// Why a session ended without an error.
enum Ended {
    Closed,
    FileReplaced,
}

/// Follows the log until the consumer is dropped, or the database's setup has issues. `applied`: the position
/// that the consumer has applied before.
pub(super) fn follow(
    options: SqliteOptions,
    seen: SeenHistory,
    applied: Option<LogEnd>,
    events: Sender<FeedResult>,
) {
    let mut follower = Follower { options, seen, events, applied, read: None, file: None };
    loop {
        let (err, pause) = match follower.run_session() {
            Ok(Ended::Closed) => return,
            Ok(Ended::FileReplaced) => {
                (FeedError::unavailable(OPERATION, "the file was replaced"), REPLACED_PAUSE)
            }
            Err(err @ FeedError::Setup(_)) if follower.read.is_none() => {
                // If the consumer was dropped, the error is of no use.
                let _ = follower.events.blocking_send(Err(err));
                return;
            }
            Err(err) => (err, RETRY_PAUSE),
        };
        tracing::warn!(source = %follower.options.source, error = %err, "change feed lost");
        follower.options.metrics.leader.set(0);
        follower.options.metrics.reconnects.inc();
        if follower.events.blocking_send(Ok(FeedEvent::Lost(err))).is_err() {
            return;
        }
        thread::sleep(pause);
    }
}

struct Follower {
    options: SqliteOptions,
    seen: SeenHistory,
    events: Sender<FeedResult>,
    /// The position that the consumer has applied before the first session.
    applied: Option<LogEnd>,
    /// The last change of the log that was delivered; `None` before the first session.
    read: Option<LogPoint>,
    /// The file of the last session.
    file: Option<FileId>,
}

/// A followed log.
struct Session {
    connection: FileConnection,
    reader: LogReader,
    /// The schema as it was checked last.
    schema: Schema,
    timeline: u32,
    /// The last change that was delivered.
    read: LogPoint,
}

impl Follower {
    fn run_session(&mut self) -> Result<Ended, FeedError> {
        if let Some(release) = &self.options.release {
            release();
        }
        let mut connection = open(&self.options.path)?;
        let file = connection.file();
        let known = self.known_history(&connection)?;
        let log = self.install(&mut connection, known)?;
        let failed = driver_error("reading the change log");
        let read = match self.read {
            Some(read) if !log.created => read,
            _ => LogPoint::at(log::first_position(&connection).map_err(failed)?),
        };
        self.read = Some(read);
        let timeline = log.timeline(file);
        self.seen.advance(timeline, read);
        let same_file = self.file.replace(file) == Some(file);
        let start = StreamStart {
            system: log.identity(file),
            timeline,
            slot_generation: log.created.then_some(log.generation),
            position: Lsn(read.seq),
            server_started: String::new(),
            history: History::default(),
            unbroken: !log.created && same_file,
            schema: None,
        };
        let reader = self.reader(&connection)?;
        let schema = Schema::current(&connection).map_err(driver_error(OPERATION))?;
        self.options.metrics.leader.set(1);
        if self.send(FeedEvent::Started(start)).is_err() {
            return Ok(Ended::Closed);
        }
        self.poll_changes(Session { connection, reader, schema, timeline, read })
    }

    /// Returns the last change that was read of this log, or the position in it that the consumer has applied.
    fn known_history(&self, connection: &FileConnection) -> Result<LogPoint, FeedError> {
        if let Some(read) = self.read {
            return Ok(read);
        }
        let log = log::read(connection)?;
        let is_this_log = |end: &LogEnd| {
            let identity =
                log.map(|log| (log.identity(connection.file()), log.timeline(connection.file())));
            identity == Some((end.system, end.timeline))
        };
        let applied = self.applied.filter(is_this_log);
        Ok(applied.map_or_else(LogPoint::default, |end| LogPoint::at(end.lsn.0)))
    }

    fn reader(&self, connection: &Connection) -> Result<LogReader, FeedError> {
        let encoding = catalog::encoding(connection).map_err(driver_error(OPERATION))?;
        let encoding = Encoding::parse(&encoding)
            .ok_or_else(|| FeedError::Malformed(format!("the encoding {encoding:?}")))?;
        let SqliteOptions { source, tables, metrics, message_keys, .. } = &self.options;
        let (source, tables, metrics) = (source.clone(), tables.clone(), metrics.clone());
        let message_keys = message_keys.clone();
        Ok(LogReader { source, tables, metrics, message_keys, encoding })
    }

    fn install(&self, connection: &mut Connection, read: LogPoint) -> Result<Log, FeedError> {
        let SqliteOptions { tables, keep, metrics, .. } = &self.options;
        let log = install(connection, tables, *keep, read)?;
        if log.created {
            metrics.slots_created.inc();
        }
        Ok(log)
    }

    fn poll_changes(&mut self, mut session: Session) -> Result<Ended, FeedError> {
        let mut poll = AdaptivePoll::new(&self.options.path, self.options.poll);
        let (mut data, mut polls, mut quiet) = (None, 0_u32, false);
        let mut unchecked = true;
        while !self.events.is_closed() {
            polls = polls.wrapping_add(1);
            if !session.connection.is_current()? {
                return Ok(Ended::FileReplaced);
            }
            let current = data_version(&session.connection)?;
            let changed = data != Some(current);
            // Taken before the read: a commit in between is read twice rather than missed.
            data = Some(current);
            unchecked |= changed;
            let due = quiet || polls.is_multiple_of(TRIGGER_CHECK_INTERVAL);
            let mut installed = false;
            if unchecked && (due || changed && !session.has_schema_version()?) {
                installed = self.check_schema(&mut session)?;
                unchecked = false;
            }
            if !changed && !installed {
                quiet = poll.wait();
                continue;
            }
            if self.deliver(&mut session)?.is_err() {
                return Ok(Ended::Closed);
            }
        }
        Ok(Ended::Closed)
    }

    /// Completes the log if the schema has changed; returns whether it has.
    fn check_schema(&self, session: &mut Session) -> Result<bool, FeedError> {
        let current = |connection: &Connection| {
            Schema::current(connection).map_err(driver_error("reading the schema"))
        };
        if current(&session.connection)? == session.schema {
            return Ok(false);
        }
        if self.install(&mut session.connection, session.read)?.created {
            return Err(FeedError::unavailable(OPERATION, "the change log was replaced"));
        }
        session.schema = current(&session.connection)?;
        Ok(true)
    }

    /// Delivers the changes up to the log's end.
    fn deliver(&mut self, session: &mut Session) -> Result<Result<(), Closed>, FeedError> {
        loop {
            let read = session.reader.read(&mut session.connection, session.read);
            let Some(read) = read.map_err(driver_error(OPERATION))? else {
                let problem = "the change log went back: the file's content was replaced";
                return Err(FeedError::unavailable(OPERATION, problem));
            };
            let (prev, full) = (std::mem::replace(&mut session.read, read.upto), read.full);
            self.read = Some(session.read);
            self.seen.advance(session.timeline, session.read);
            if let Some(batch) = self.batch(prev.seq, read)
                && self.send(FeedEvent::Batch(batch)).is_err()
            {
                return Ok(Err(Closed));
            }
            if !full {
                return Ok(Ok(()));
            }
        }
    }

    fn batch(&self, prev: u64, read: LogRead) -> Option<LogBatch> {
        if read.upto.seq == prev {
            return None;
        }
        Commit::record(&read.commits, &self.options.metrics, &*self.options.clock);
        let upto = Lsn(read.upto.seq);
        Some(LogBatch { prev: Lsn(prev), upto, watermark: upto, commits: read.commits })
    }

    fn send(&self, event: FeedEvent) -> Result<(), Closed> {
        self.events.blocking_send(Ok(event)).map_err(|_| Closed)
    }
}

impl Session {
    fn has_schema_version(&self) -> Result<bool, FeedError> {
        let same = self.schema.has_version(&self.connection);
        Ok(same.map_err(driver_error(OPERATION))?)
    }
}

/// Returns a number that changes with each commit of another connection, also of another process.
fn data_version(connection: &Connection) -> Result<i64, FeedError> {
    let read = || {
        let mut statement = connection.prepare_cached("pragma data_version")?;
        statement.query_row([], |row| row.get(0))
    };
    Ok(read().map_err(driver_error(OPERATION))?)
}
