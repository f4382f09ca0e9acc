//! The change log: its identity and end, and appending to it.

use coherence::Lsn;
use contract::fnv1a;
use database::sqlite::{FileId, driver_error};
use rusqlite::{Connection, OptionalExtension};

use crate::error::FeedError;

/// Queries the end of the change log, one number; fails or returns no row if there is no log yet.
pub const LOG_END_SQL: &str = "select seq from sqlite_sequence where name = '_tidegate_changes'";

/// Wall time in µs. `now` has a resolution of milliseconds and is constant during a statement.
pub(super) const NOW_US: &str = "cast((julianday('now') - 2440587.5) * 86400000000 as integer)";

/// A change log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Log {
    /// Chosen at random when the first log was created.
    pub(super) system: u64,
    /// Chosen at random for each log.
    pub(super) generation: u64,
    /// This call has created or reset the log.
    pub(super) created: bool,
}

impl Log {
    /// Returns the identity of the database in this file: that of its log, which copies share, and the file.
    pub(super) fn identity(&self, file: FileId) -> u64 {
        fnv1a(format!("{file} {}", self.system).bytes())
    }

    /// Returns the number of the log's timeline in this file. A copy of the file has another one, although it
    /// contains the same log.
    pub(super) fn timeline(&self, file: FileId) -> u32 {
        fnv1a(format!("{file} {}", self.generation).bytes()) as u32
    }
}

/// Reads the log; `None` if there is none yet.
pub(super) fn read(connection: &Connection) -> Result<Option<Log>, FeedError> {
    if !exists(connection)? {
        return Ok(None);
    }
    let read = || Ok((meta(connection, "system")?, generation(connection)?));
    match read().map_err(driver_error("reading the change log"))? {
        (Some(system), Some(generation)) => Ok(Some(Log { system, generation, created: false })),
        _ => Ok(None),
    }
}

fn exists(connection: &Connection) -> Result<bool, FeedError> {
    let both = "select count(*) from sqlite_master \
                where type = 'table' and name in ('_tidegate_meta', '_tidegate_changes')";
    let count: i64 = connection
        .query_row(both, [], |row| row.get(0))
        .map_err(driver_error("reading the schema"))?;
    Ok(count == 2)
}

/// Returns the last assigned position, also if its row is gone.
pub(super) fn end(connection: &Connection) -> rusqlite::Result<u64> {
    let mut statement = connection.prepare_cached(LOG_END_SQL)?;
    let end: Option<i64> = statement.query_row([], |row| row.get(0)).optional()?;
    Ok(end.unwrap_or_default().cast_unsigned())
}

/// Returns the position of the oldest change that the log contains.
pub(super) fn first(connection: &Connection) -> rusqlite::Result<Option<u64>> {
    let mut statement = connection.prepare_cached("select min(seq) from _tidegate_changes")?;
    let first: Option<i64> = statement.query_row([], |row| row.get(0))?;
    Ok(first.map(i64::cast_unsigned))
}

/// Returns the position before the oldest change in the log.
pub(super) fn first_position(connection: &Connection) -> rusqlite::Result<u64> {
    match first(connection)? {
        Some(first) => Ok(first.saturating_sub(1)),
        None => end(connection),
    }
}

/// Appends a message, or a nudge if `text` is `None`. Returns its position.
pub(super) fn append(connection: &Connection, text: Option<&str>) -> rusqlite::Result<Lsn> {
    let op = if text.is_some() { "M" } else { "N" };
    let sql = format!("insert into _tidegate_changes(at_us, op, new) values ({NOW_US}, ?1, ?2)");
    let seq = connection.prepare_cached(&sql)?.insert((op, text))?;
    Ok(Lsn(seq.cast_unsigned()))
}

pub(super) fn generation(connection: &Connection) -> rusqlite::Result<Option<u64>> {
    meta(connection, "generation")
}

pub(super) fn meta(connection: &Connection, name: &str) -> rusqlite::Result<Option<u64>> {
    let sql = "select value from _tidegate_meta where name = ?1";
    let mut statement = connection.prepare_cached(sql)?;
    let value: Option<i64> = statement.query_row([name], |row| row.get(0)).optional()?;
    Ok(value.map(i64::cast_unsigned))
}
