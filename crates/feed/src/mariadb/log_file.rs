//! The files of the log by position.

use coherence::Lsn;
use database::mariadb::Connection;

use super::catalog::{self, LogFile};
use super::position::BinlogPosition;
use crate::error::FeedError;

/// Returns the file that a position lies in, unless the server has removed it.
pub(super) async fn file_of(
    connection: &Connection,
    position: BinlogPosition,
) -> Result<Option<LogFile>, FeedError> {
    let files = catalog::files(connection).await?.unwrap_or_default();
    Ok(files.into_iter().find(|file| position.is_in(&file.name)))
}

/// Whether the log has, at the byte before `position`, an event that changes rows or begins a transaction.
pub(super) async fn has_change_at(
    connection: &Connection,
    position: BinlogPosition,
) -> Result<bool, FeedError> {
    /// ER_ERROR_WHEN_EXECUTING_COMMAND: there is no event.
    const NO_EVENT: u16 = 1220;
    let begin = BinlogPosition::of(Lsn(position.lsn().0.saturating_sub(1)));
    let Some(file) = file_of(connection, begin).await? else { return Ok(false) };
    // This statement takes no literal with a character set.
    let name = file.name.replace('\\', "\\\\").replace('\'', "''");
    let sql = format!("show binlog events in '{name}' from {} limit 1", begin.offset());
    let rows = match connection.rows("comparing a position", &sql).await {
        Ok(rows) => rows,
        Err(err) if err.has_number(NO_EVENT) => return Ok(false),
        Err(err) => return Err(err.into()),
    };
    let kind = rows.first().and_then(|row| row.get(2)?.as_deref());
    Ok(kind.is_some_and(|kind| kind.contains("_rows") || kind == "Gtid"))
}
