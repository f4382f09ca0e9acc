//! Checks of a database before it is followed: all issues are reported at once.

use database::quoting::identifier;
use database::sqlite::driver_error;
use rusqlite::Connection;

use super::catalog::{self, Table};
use super::connection::open;
use super::options::SqliteOptions;
use super::unique::{UnreadableIndex, unique_sets};
use crate::error::{FeedError, SetupError, SetupIssue};
use crate::table::TrackedTable;
use crate::unknown_name::{missing_column, missing_table};

/// Checks the file that the options name, and writes nothing.
///
/// # Errors
/// [`FeedError::Setup`] with every issue, or [`FeedError::Unavailable`].
pub fn prepare(options: &SqliteOptions) -> Result<(), FeedError> {
    let connection = open(&options.path)?;
    check(&connection, &options.tables)
}

/// Checks that the tracked tables and columns exist, and that triggers can report every change.
///
/// # Errors
/// [`FeedError::Setup`] with every issue, or [`FeedError::Unavailable`].
pub(super) fn check(connection: &Connection, tables: &[TrackedTable]) -> Result<(), FeedError> {
    let mut issues = Vec::new();
    for (at, tracked) in tables.iter().enumerate() {
        let name = &tracked.table;
        let same = |other: &&TrackedTable| other.table.eq_ignore_ascii_case(name);
        if let Some(other) = tables[..at].iter().find(same) {
            let description = format!(
                "Contracts refer to one table as `{}` and as `{name}`: SQLite ignores case.",
                other.table
            );
            issues
                .push(SetupIssue::new(description, ["-- write it alike in all contracts".into()]));
        }
        let table = catalog::table(connection, name).map_err(driver_error("reading the schema"))?;
        match table {
            Some(table) => check_table(connection, tracked, &table, &mut issues)?,
            None => {
                let known = catalog::table_names(connection);
                let known = known.map_err(driver_error("reading the schema"))?;
                issues.push(missing_table(name, &known));
            }
        }
    }
    if issues.is_empty() {
        return Ok(());
    }
    let database = connection.path().unwrap_or("the SQLite database").to_owned();
    Err(SetupError { database, issues }.into())
}

fn check_table(
    connection: &Connection,
    tracked: &TrackedTable,
    table: &Table,
    issues: &mut Vec<SetupIssue>,
) -> Result<(), FeedError> {
    let name = &tracked.table;
    if table.is_virtual {
        let description =
            format!("`{name}` is a virtual table: SQLite has no triggers that report its changes.");
        let remedy = "-- let contracts refer to the table that its rows come from";
        issues.push(SetupIssue::new(description, [remedy.to_owned()]));
        return Ok(());
    }
    let absent = |column: &&String| !table.columns.iter().any(|c| c.eq_ignore_ascii_case(column));
    for column in tracked.columns.iter().filter(absent) {
        issues.push(missing_column(name, column, &table.columns));
    }
    let unique =
        unique_sets(connection, name, table).map_err(driver_error("reading the indexes"))?;
    if let Err(UnreadableIndex(index)) = unique {
        let description = format!(
            "The definition of the unique index `{index}` of `{name}` has a comment, so its \
             expressions can't be read, and `insert or replace` may delete rows without a trace."
        );
        let drop = format!("drop index {};", identifier(&index));
        let again = "-- and create it again without comments".to_owned();
        issues.push(SetupIssue::new(description, [drop, again]));
    }
    Ok(())
}
