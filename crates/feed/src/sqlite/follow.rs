//! The thread that watches the database.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use coherence::Lsn;
use rusqlite::Connection;
use tokio::sync::mpsc::Sender;

use super::options::SqliteOptions;
use super::pace::Pace;
use super::read::{Read, Reader};
use super::{failed, open, schema};
use crate::error::FeedError;
use crate::event::{FeedEvent, Piece, Start};

/// After an error.
const PAUSE: Duration = Duration::from_millis(200);

/// Every so many polls: is the file still the file?
const FILE_CHECK_EVERY: u32 = 1_000;

pub(super) type Told = Result<FeedEvent, FeedError>;

/// Nobody listens any more.
struct Deaf;

/// Follows until nobody listens any more, or a human is needed.
pub(super) fn follow(options: SqliteOptions, tell: Sender<Told>) {
    let reader = Reader {
        source: options.source.clone(),
        tables: options.tables.clone(),
        metrics: options.metrics.clone(),
    };
    let mut follower = Follower { options, reader, tell, at: None, file: None };
    loop {
        match follower.session() {
            Ok(Deaf) => return,
            Err(err @ FeedError::Setup(_)) if follower.at.is_none() => {
                // The receiver may be gone: then nobody needs to know.
                let _ = follower.tell.blocking_send(Err(err));
                return;
            }
            Err(err) => {
                tracing::warn!(source = %follower.options.source, error = %err, "change feed lost");
                follower.options.metrics.leader.set(0);
                follower.options.metrics.reconnects.inc();
                if follower.tell.blocking_send(Ok(FeedEvent::Lost(err))).is_err() {
                    return;
                }
                thread::sleep(PAUSE);
            }
        }
    }
}

struct Follower {
    options: SqliteOptions,
    reader: Reader,
    tell: Sender<Told>,
    /// Up to where everything was told; `None` before the first session.
    at: Option<u64>,
    /// The file of the session before.
    file: Option<(u64, u64)>,
}

impl Follower {
    fn session(&mut self) -> Result<Deaf, FeedError> {
        let mut connection = open(&self.options.path)?;
        let file = identity(&self.options.path)?;
        let log = self.install(&mut connection)?;
        let position = match self.at {
            Some(at) if !log.made => at,
            _ => first_position(&connection)?,
        };
        self.at = Some(position);
        let start = Start {
            system: log.system,
            timeline: 1,
            slot_generation: log.made.then_some(log.generation),
            position: Lsn(position),
            server_started: String::new(),
            unbroken: !log.made && self.file.replace(file) == Some(file),
        };
        self.options.metrics.leader.set(1);
        if self.say(FeedEvent::Started(start)).is_err() {
            return Ok(Deaf);
        }
        self.watch(&mut connection, position, file)
    }

    fn install(&self, connection: &mut Connection) -> Result<schema::Log, FeedError> {
        let SqliteOptions { tables, keep, metrics, .. } = &self.options;
        let log = schema::install(connection, tables, *keep, self.at.unwrap_or_default())?;
        if log.made {
            metrics.slots_made.inc();
        }
        Ok(log)
    }

    fn watch(
        &mut self,
        connection: &mut Connection,
        mut at: u64,
        file: (u64, u64),
    ) -> Result<Deaf, FeedError> {
        let (mut data, mut schema) = (None, version(connection, SCHEMA)?);
        let mut pace = Pace::new(&self.options.path, self.options.poll);
        let (mut polls, mut quiet) = (0_u32, false);
        while !self.tell.is_closed() {
            polls = polls.wrapping_add(1);
            let check = quiet || polls.is_multiple_of(FILE_CHECK_EVERY);
            if check && identity(&self.options.path)? != file {
                return Err(FeedError::unavailable(WATCHING, "the file was replaced"));
            }
            let now = version(connection, DATA)?;
            if data == Some(now) {
                quiet = pace.wait();
                continue;
            }
            // Taken before the read: what is committed in between is seen twice, not never.
            data = Some(now);
            let shape = version(connection, SCHEMA)?;
            if shape != schema {
                if self.install(connection)?.made {
                    return Err(FeedError::unavailable(WATCHING, "the change log was replaced"));
                }
                schema = version(connection, SCHEMA)?;
            }
            loop {
                let read = self.reader.read(connection, at).map_err(failed(WATCHING))?;
                let full = read.full;
                if let Some(piece) = self.piece(at, read)? {
                    at = piece.upto.0;
                    self.at = Some(at);
                    if self.say(FeedEvent::Piece(piece)).is_err() {
                        return Ok(Deaf);
                    }
                }
                if !full {
                    break;
                }
            }
        }
        Ok(Deaf)
    }

    fn piece(&self, prev: u64, read: Read) -> Result<Option<Piece>, FeedError> {
        if read.upto == prev {
            return Ok(None);
        }
        let metrics = &self.options.metrics;
        for commit in &read.commits {
            metrics.changes.inc_by(commit.changes.len() as u64);
        }
        metrics.commits.inc_by(read.commits.len() as u64);
        if let Some(last) = read.commits.last() {
            let now_us = self.options.clock.wall_us() as f64;
            metrics.lag.set((now_us - last.committed_us as f64) / 1e6);
        }
        let upto = Lsn(read.upto);
        Ok(Some(Piece { prev: Lsn(prev), upto, watermark: upto, commits: read.commits }))
    }

    fn say(&self, event: FeedEvent) -> Result<(), Deaf> {
        self.tell.blocking_send(Ok(event)).map_err(|_| Deaf)
    }
}

const WATCHING: &str = "watching the change log";
/// Another number after each commit of another connection, also of another process.
const DATA: &str = "data_version";
/// Another number after each change of the schema.
const SCHEMA: &str = "schema_version";

fn version(connection: &Connection, pragma: &str) -> Result<i64, FeedError> {
    let read = || {
        let mut statement = connection.prepare_cached(&format!("pragma {pragma}"))?;
        statement.query_row([], |row| row.get(0))
    };
    read().map_err(failed(WATCHING))
}

/// Before the oldest change that the log still has.
fn first_position(connection: &Connection) -> Result<u64, FeedError> {
    let read = || {
        let first: Option<i64> =
            connection.query_row("select min(seq) from _tidegate_changes", [], |row| row.get(0))?;
        match first {
            Some(first) => Ok(first.cast_unsigned().saturating_sub(1)),
            None => schema::end(connection),
        }
    };
    read().map_err(failed("reading the change log"))
}

/// A file that was moved away stays open, but nobody writes to it any more.
fn identity(path: &Path) -> Result<(u64, u64), FeedError> {
    let metadata = fs::metadata(path).map_err(|err| FeedError::unavailable(WATCHING, err))?;
    Ok((metadata.dev(), metadata.ino()))
}
