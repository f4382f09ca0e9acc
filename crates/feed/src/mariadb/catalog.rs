//! Queries of the server's settings and of the tables.

use std::collections::HashMap;

use contract::table_name;
use database::DatabaseError;
use database::mariadb::{ColumnDefinition, Connection};
use database::quoting::{mariadb_identifier, mariadb_literal};

use super::log::{MESSAGE_COLUMN, REQUEST_TABLE};
use crate::error::FeedError;
use crate::table::TableName;

const OPERATION: &str = "reading the catalogue";

/// Returns the server's settings by their lower-case names. Some exist only in some versions.
pub(super) async fn settings(
    connection: &Connection,
) -> Result<HashMap<String, String>, FeedError> {
    let sql = "select lower(variable_name), variable_value \
               from information_schema.global_variables where variable_name in \
               ('binlog_expire_logs_seconds', 'binlog_format', 'binlog_row_image', \
                'binlog_row_metadata', 'expire_logs_days', 'log_bin', 'log_bin_compress', \
                'log_slave_updates', 'read_only', 'server_id', 'version', 'wsrep_on')";
    let rows = connection.rows(OPERATION, sql).await?.into_iter();
    Ok(rows.filter_map(|row| <[_; 2]>::try_from(row).ok()).filter_map(pair).collect())
}

fn pair([name, value]: [Option<String>; 2]) -> Option<(String, String)> {
    Some((name?, value.unwrap_or_default()))
}

/// Whether the server is a replica that receives changes from another server.
pub(super) async fn is_replica(connection: &Connection) -> Result<bool, FeedError> {
    let rows = connection.rows(OPERATION, "show global status like 'slaves_running'").await?;
    let running = rows.first().and_then(|row| row.get(1)?.clone());
    Ok(running.is_some_and(|count| count != "0"))
}

/// Returns the current user as `'name'@'host'`.
pub(super) async fn user(connection: &Connection) -> Result<String, FeedError> {
    let user = connection.value(OPERATION, "select current_user()").await?;
    let (name, host) = user.rsplit_once('@').unwrap_or((&user, "%"));
    Ok(format!("'{}'@'{}'", name.replace('\'', "''"), host.replace('\'', "''")))
}

/// Returns the files of the log, or `None` if the user lacks the privilege.
pub(super) async fn files(connection: &Connection) -> Result<Option<Vec<LogFile>>, FeedError> {
    let Some(rows) = if_permitted(connection.rows(OPERATION, "show binary logs").await)? else {
        return Ok(None);
    };
    let file = |row: Vec<Option<String>>| {
        let mut cells = row.into_iter();
        let name = cells.next()??;
        Some(LogFile { name, bytes: cells.next()??.parse().ok()? })
    };
    Ok(Some(rows.into_iter().filter_map(file).collect()))
}

/// One file of the log.
pub(super) struct LogFile {
    pub(super) name: String,
    pub(super) bytes: u64,
}

/// The filters that decide which databases are logged.
pub(super) struct LogFilters {
    included: Vec<String>,
    excluded: Vec<String>,
}

impl LogFilters {
    pub(super) fn exclude(&self, database: &str) -> bool {
        let named = |list: &[String]| list.iter().any(|name| name == database);
        (!self.included.is_empty() && !named(&self.included)) || named(&self.excluded)
    }
}

/// Returns the filters, or `None` if the user lacks the privilege.
pub(super) async fn filters(connection: &Connection) -> Result<Option<LogFilters>, FeedError> {
    let Some(rows) = if_permitted(connection.rows(OPERATION, "show master status").await)? else {
        return Ok(None);
    };
    let list = |at: usize| {
        let text = rows.first().and_then(|row| row.get(at)?.clone()).unwrap_or_default();
        text.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
    };
    Ok(Some(LogFilters { included: list(2), excluded: list(3) }))
}

/// A tracked table in the catalogue.
pub(super) struct Table {
    pub(super) engine: String,
    pub(super) columns: Vec<Column>,
    /// The foreign keys by which InnoDB changes rows without logging it.
    pub(super) cascades: Vec<String>,
    /// Whether the server keeps the history of its rows.
    pub(super) is_versioned: bool,
}

/// A column of a table.
pub(super) struct Column {
    pub(super) name: String,
    pub(super) definition: ColumnDefinition,
    /// Empty for a column without one.
    pub(super) collation: String,
    pub(super) readable: bool,
}

/// Whether both are names of one column: the server ignores case.
pub(super) fn same_column(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
}

/// Returns a table, or `None` if it does not exist or the user may not see it.
pub(super) async fn table(
    connection: &Connection,
    name: &TableName,
) -> Result<Option<Table>, FeedError> {
    let filter = format!(
        "binary table_schema = {} and binary table_name = {}",
        mariadb_literal(&name.schema),
        mariadb_literal(&name.table)
    );
    let statements = [
        format!("select coalesce(engine, '') from information_schema.tables where {filter}"),
        format!(
            "select column_name, data_type, column_type, coalesce(character_set_name, ''), \
               coalesce(extra, ''), coalesce(collation_name, ''), find_in_set('select', privileges) > 0 \
             from information_schema.columns where {filter} order by ordinal_position"
        ),
    ];
    let mut results = connection.query(OPERATION, &statements).await?.into_iter();
    let engine = results.next().and_then(|rows| rows.into_iter().next()?.into_iter().next()?);
    let Some(engine) = engine else { return Ok(None) };
    let column = |row: Vec<Option<String>>| {
        let mut cells = row.into_iter().map(Option::unwrap_or_default);
        Some(Column {
            name: cells.next()?,
            definition: ColumnDefinition {
                data_type: cells.next()?,
                full_type: cells.next()?,
                charset: cells.next()?,
                extra: cells.next()?,
            },
            collation: cells.next()?,
            readable: cells.next()? == "1",
        })
    };
    let columns: Vec<Column> =
        results.next().unwrap_or_default().into_iter().filter_map(column).collect();
    let (mut cascades, mut is_versioned) = (Vec::new(), false);
    if columns.iter().any(|column| column.readable) {
        // The catalogue shows foreign keys only to users who may write; this statement shows them to
        // every user who may read.
        let sql = format!("show create table {}", name.mariadb_quoted());
        let created = connection.row(OPERATION, &sql).await?.into_iter().nth(1).flatten();
        let created = created.unwrap_or_default();
        is_versioned = created.contains(" WITH SYSTEM VERSIONING");
        cascades = self::cascades(&created);
    }
    Ok(Some(Table { engine, columns, cascades, is_versioned }))
}

/// Returns the tables that the user may read, as contracts name them: those of `database` without it.
pub(super) async fn table_names(
    connection: &Connection,
    database: &str,
) -> Result<Vec<String>, FeedError> {
    let sql = format!(
        "select table_schema, table_name from information_schema.tables where table_type like '%TABLE' \
           and table_schema not in ('information_schema', 'mysql', 'performance_schema', 'sys') \
         order by table_schema <> {}, 1, 2",
        mariadb_literal(database)
    );
    let rows = connection.rows(OPERATION, &sql).await?.into_iter();
    let names = rows.filter_map(|row| <[_; 2]>::try_from(row).ok()).filter_map(pair);
    let own = names.filter(|(_, table)| table != REQUEST_TABLE);
    Ok(own
        .map(|(schema, table)| table_name((schema != database).then_some(&schema), &table))
        .collect())
}

fn cascades(created: &str) -> Vec<String> {
    let keys = created.lines().map(|line| line.trim().trim_end_matches(','));
    let keys =
        keys.filter(|line| line.starts_with("CONSTRAINT ") && line.contains(" FOREIGN KEY "));
    let changes = |line: &&str| {
        ["ON DELETE CASCADE", "ON DELETE SET NULL", "ON UPDATE CASCADE", "ON UPDATE SET NULL"]
            .iter()
            .any(|rule| line.contains(rule))
    };
    keys.filter(changes).map(str::to_owned).collect()
}

/// Returns the server's error if the table for requests is missing or the user lacks a privilege on
/// it.
pub(super) async fn request_table_error(
    connection: &Connection,
    database: &str,
) -> Result<Option<String>, FeedError> {
    let table = format!("{}.{REQUEST_TABLE}", mariadb_identifier(database));
    for sql in [
        format!("explain insert into {table}({MESSAGE_COLUMN}) values ('')"),
        format!("explain delete from {table} where id = 0"),
    ] {
        if let Err(err) = connection.run(OPERATION, &[sql]).await {
            if err.has_number(READ_ONLY) {
                return Ok(None);
            }
            let codes = [DENIED_TABLE, DENIED_COLUMN, NO_TABLE, NO_COLUMN];
            return expected_error(err, &codes).map(Some);
        }
    }
    Ok(None)
}

const DENIED: u16 = 1227;
const DENIED_TABLE: u16 = 1142;
const DENIED_COLUMN: u16 = 1143;
const NO_TABLE: u16 = 1146;
const NO_COLUMN: u16 = 1054;
/// The server takes no writes now, whichever table they name.
const READ_ONLY: u16 = 1290;

/// Returns `None` if the user lacks the privilege.
fn if_permitted<T>(result: Result<T, DatabaseError>) -> Result<Option<T>, FeedError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(err) => expected_error(err, &[DENIED]).map(|_| None),
    }
}

/// Returns the error's text if it has one of the codes; else the error.
fn expected_error(err: DatabaseError, codes: &[u16]) -> Result<String, FeedError> {
    let expected = codes.iter().any(|code| err.has_number(*code));
    if expected { Ok(err.to_string()) } else { Err(err.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cascading_foreign_keys_found() {
        let created = "CREATE TABLE `t` (\n  `a` int(11) COMMENT 'FOREIGN KEY ON DELETE CASCADE',\n  \
            CONSTRAINT `one` FOREIGN KEY (`a`) REFERENCES `p` (`id`),\n  \
            CONSTRAINT `two` FOREIGN KEY (`a`) REFERENCES `p` (`id`) ON DELETE CASCADE,\n  \
            CONSTRAINT `three` FOREIGN KEY (`a`) REFERENCES `p` (`id`) ON UPDATE SET NULL\n) ENGINE=InnoDB";
        let found = cascades(created);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains("`two`") && found[1].contains("`three`"));
    }
}
