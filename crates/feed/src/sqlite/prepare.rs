//! Checks of a database before it is followed: all issues are reported at once.

use database::quoting::identifier;
use database::sqlite::driver_error;
use rusqlite::Connection;

use super::catalog;
use crate::error::{FeedError, SetupError, SetupIssue};
use crate::table::TrackedTable;

/// Checks that the tracked tables and columns exist.
///
/// # Errors
/// [`FeedError::Setup`] with every issue, or [`FeedError::Unavailable`].
pub(super) fn check(connection: &Connection, tables: &[TrackedTable]) -> Result<(), FeedError> {
    let mut issues = Vec::new();
    for tracked in tables {
        let columns = catalog::columns(connection, &tracked.table)
            .map_err(driver_error("reading the schema"))?;
        let Some(columns) = columns else {
            let description =
                format!("There is no table `{}`, which contracts refer to.", tracked.table);
            let remedy = format!("create table {}(…);", identifier(&tracked.table));
            issues.push(SetupIssue::new(description, [remedy]));
            continue;
        };
        let absent = |column: &&String| !columns.iter().any(|c| c.eq_ignore_ascii_case(column));
        for column in tracked.columns.iter().filter(absent) {
            let table = &tracked.table;
            let description =
                format!("Table `{table}` has no column `{column}`, which contracts refer to.");
            let remedy =
                format!("alter table {} add column {} …;", identifier(table), identifier(column));
            issues.push(SetupIssue::new(description, [remedy]));
        }
    }
    if issues.is_empty() {
        return Ok(());
    }
    let database = connection.path().unwrap_or("the SQLite database").to_owned();
    Err(SetupError { database, issues }.into())
}
