//! Queries of the schema.

use rusqlite::{Connection, OptionalExtension};

/// Returns the columns of a table, or `None` if it does not exist (a view can't be followed).
pub(super) fn columns(
    connection: &Connection,
    table: &str,
) -> rusqlite::Result<Option<Vec<String>>> {
    let exists = "select 1 from sqlite_master where type = 'table' and name = ?1 collate nocase";
    if connection.query_row(exists, [table], |_| Ok(())).optional()?.is_none() {
        return Ok(None);
    }
    connection
        .prepare("select name from pragma_table_xinfo(?1)")?
        .query_map([table], |row| row.get(0))?
        .collect::<Result<_, _>>()
        .map(Some)
}

/// Returns the sets of columns with a unique constraint in a table.
pub(super) fn unique_sets(
    connection: &Connection,
    table: &str,
) -> rusqlite::Result<Vec<Vec<String>>> {
    let mut sets = Vec::new();
    let mut primary: Vec<(i64, String)> = connection
        .prepare("select pk, name from pragma_table_info(?1) where pk > 0")?
        .query_map([table], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    primary.sort();
    sets.push(primary.into_iter().map(|(_, name)| name).collect::<Vec<_>>());
    let indexes: Vec<String> = connection
        .prepare("select name from pragma_index_list(?1) where \"unique\" = 1 and origin <> 'pk'")?
        .query_map([table], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for index in indexes {
        let columns: Vec<Option<String>> = connection
            .prepare("select name from pragma_index_info(?1) order by seqno")?
            .query_map([index], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        // An expression in the index has no name. The other columns alone match more rows, which is
        // safe.
        sets.push(columns.into_iter().flatten().collect());
    }
    sets.retain(|set| !set.is_empty());
    sets.dedup();
    Ok(sets)
}
