//! The tables of a file.

use std::path::Path;

use database::sqlite::driver_error;
use rusqlite::Connection;

use super::connection::open;
use crate::error::FeedError;
use crate::survey::{SurveyedColumn, SurveyedTable, TableKind};

const TABLES: &str = "\
    select name, type from pragma_table_list where schema = 'main' and type <> 'shadow' \
      and name not like 'sqlite\\_%' escape '\\' and name not like '\\_tidegate%' escape '\\' order by 1";

/// Returns the tables and views of a file.
///
/// # Errors
/// [`FeedError::Unavailable`]: there is no such file, or it can't be read.
pub fn survey(path: &Path) -> Result<Vec<SurveyedTable>, FeedError> {
    let connection = open(path)?;
    let tables = tables(&connection).map_err(driver_error("reading the schema"))?;
    Ok(tables)
}

fn tables(connection: &Connection) -> rusqlite::Result<Vec<SurveyedTable>> {
    let mut statement = connection.prepare(TABLES)?;
    let names = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let names = names.collect::<rusqlite::Result<Vec<(String, String)>>>()?;
    names.into_iter().map(|(name, kind)| table(connection, name, &kind)).collect()
}

fn table(connection: &Connection, name: String, kind: &str) -> rusqlite::Result<SurveyedTable> {
    let obstacle = match kind {
        "view" => Some("it is a view"),
        "virtual" => Some("it is a virtual table, which has no triggers"),
        _ => None,
    };
    let mut statement = connection
        .prepare("select name, type, pk from pragma_table_xinfo(?1) where hidden <> 1")?;
    let rows = statement.query_map([&name], |row| {
        let column = SurveyedColumn { name: row.get(0)?, data_type: row.get(1)? };
        Ok((row.get::<_, i64>(2)?, column))
    })?;
    let rows = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    let mut key: Vec<(i64, String)> =
        rows.iter().filter(|(at, _)| *at > 0).map(|(at, it)| (*at, it.name.clone())).collect();
    key.sort_unstable();
    Ok(SurveyedTable {
        name,
        kind: TableKind::of(obstacle),
        columns: rows.into_iter().map(|(_, column)| column).collect(),
        key: key.into_iter().map(|(_, name)| name).collect(),
    })
}
