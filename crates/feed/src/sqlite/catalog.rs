//! Queries of the schema.

use rusqlite::{Connection, OptionalExtension};

/// A table of the schema.
pub(super) struct Table {
    /// Whether a module implements it, as it does for full-text indexes.
    pub(super) is_virtual: bool,
    /// Whether its rows have a number beside their columns.
    pub(super) has_rowid: bool,
    pub(super) columns: Vec<String>,
}

/// Returns a table, or `None` if it does not exist (a view can't be followed).
pub(super) fn table(connection: &Connection, name: &str) -> rusqlite::Result<Option<Table>> {
    let sql = "select type = 'virtual', not wr from pragma_table_list \
               where schema = 'main' and type <> 'view' and name = ?1 collate nocase";
    let found = connection.query_row(sql, [name], |row| Ok((row.get(0)?, row.get(1)?)));
    let Some((is_virtual, has_rowid)) = found.optional()? else { return Ok(None) };
    let columns = connection
        .prepare("select name from pragma_table_xinfo(?1)")?
        .query_map([name], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    Ok(Some(Table { is_virtual, has_rowid, columns }))
}

/// Returns the columns of a table with their declared types; empty if it does not exist.
pub(super) fn types(
    connection: &Connection,
    table: &str,
) -> rusqlite::Result<Vec<(String, String)>> {
    connection
        .prepare("select name, type from pragma_table_xinfo(?1)")?
        .query_map([table], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

/// Returns the tables of the file, without SQLite's and Tidegate's own.
pub(super) fn table_names(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let sql = "select name from pragma_table_list where schema = 'main' and type = 'table' \
               and name not like 'sqlite\\_%' escape '\\' and name not like '\\_tidegate%' escape '\\' order by 1";
    connection.prepare(sql)?.query_map([], |row| row.get(0))?.collect()
}

/// Returns the database's encoding of texts, such as `UTF-8`.
pub(super) fn encoding(connection: &Connection) -> rusqlite::Result<String> {
    connection.query_row("pragma encoding", [], |row| row.get(0))
}
