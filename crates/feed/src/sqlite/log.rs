//! The change log: its identity and end, and appending to it.

use coherence::Lsn;
use contract::fnv1a;
use database::sqlite::driver_error;
use rusqlite::{Connection, OptionalExtension};

use super::connection::FileId;
use crate::error::FeedError;

/// Queries the end of the change log, one number; fails or returns no row if there is no log yet.
pub const LOG_END_SQL: &str = "select seq from sqlite_sequence where name = '_tidegate_changes'";

/// Wall time in µs. `now` has a resolution of milliseconds and is constant during a statement.
pub(super) const NOW_US: &str = "cast((julianday('now') - 2440587.5) * 86400000000 as integer)";

/// A change log.
pub(super) struct Log {
    /// Chosen at random when the first log was created; the database's identity.
    pub(super) system: u64,
    /// Chosen at random for each log.
    pub(super) generation: u64,
    /// This call has created or reset the log.
    pub(super) created: bool,
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

/// Returns the identity of the database in this file: the one in its change log, which copies share, and the file.
pub(super) fn identity(system: u64, (device, inode): FileId) -> u64 {
    fnv1a([system, device, inode].into_iter().flat_map(u64::to_le_bytes))
}

/// Returns the identity in the change log, or `None` if no feed has ever been installed.
pub(super) fn system(connection: &Connection) -> Result<Option<u64>, FeedError> {
    Ok(read(connection)?.map(|log| log.system))
}

/// Returns the last assigned position, also if its row is gone.
pub(super) fn end(connection: &Connection) -> rusqlite::Result<u64> {
    let mut statement = connection.prepare_cached(LOG_END_SQL)?;
    let end: Option<i64> = statement.query_row([], |row| row.get(0)).optional()?;
    Ok(end.unwrap_or_default().cast_unsigned())
}

/// Returns the position before the oldest change in the log.
pub(super) fn first_position(connection: &Connection) -> rusqlite::Result<u64> {
    let first: Option<i64> =
        connection.query_row("select min(seq) from _tidegate_changes", [], |row| row.get(0))?;
    match first {
        Some(first) => Ok(first.cast_unsigned().saturating_sub(1)),
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
    let value: Option<i64> = connection.query_row(sql, [name], |row| row.get(0)).optional()?;
    Ok(value.map(i64::cast_unsigned))
}
