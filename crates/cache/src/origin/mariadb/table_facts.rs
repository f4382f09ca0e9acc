//! Whether the rows of a table are the complete answers of a contract, as the catalogue says.

use coherence::Lsn;
use contract::{Contract, SqlDialect, split_table_name};
use database::mariadb::{ColumnDefinition, ResultSet};
use database::quoting::mariadb_literal;

use super::pool::{MariaDbPool, Snapshot};
use super::value::text;
use crate::origin::error::OriginError;

/// A table in the catalogue.
pub(super) struct TableFacts {
    /// The approximate number of rows.
    pub(super) rows: u64,
    /// The reason why more than one row may have one key, or a row may come without being logged.
    pub(super) unsuitable: Option<&'static str>,
    columns: Vec<(String, ColumnDefinition)>,
    /// The end of the log after the catalogue was read.
    read_at: Option<Lsn>,
}

impl TableFacts {
    /// Reads the facts about a contract's table. `table`: the contract's name of it.
    pub(super) async fn read(
        pool: &MariaDbPool,
        table: &str,
        key: &str,
    ) -> Result<Self, OriginError> {
        let (database, table) = split_table_name(table);
        let table = format!(
            "binary table_schema = {} and binary table_name = {}",
            mariadb_literal(database.as_deref().unwrap_or(pool.database())),
            mariadb_literal(&table)
        );
        let statements = [
            format!(
                "select table_type = 'BASE TABLE' and engine = 'InnoDB', coalesce(table_rows, 0) \
                 from information_schema.tables where {table}"
            ),
            format!(
                "select index_name from information_schema.statistics \
                 where {table} and non_unique = 0 and index_type = 'BTREE' group by index_name \
                 having count(*) = 1 and max(column_name) = {} and max(sub_part) is null",
                mariadb_literal(key)
            ),
            format!(
                "select column_name, data_type, column_type, coalesce(character_set_name, ''), \
                 coalesce(extra, '') from information_schema.columns where {table}"
            ),
        ];
        let Snapshot { results, source } = pool.snapshot(&statements).await?;
        let mut results = results.into_iter().map(rows);
        let mut next = || results.next().unwrap_or_default();
        let (found, indexes, columns) = (next().into_iter().next(), next(), next());
        let [is_plain, rows] = found.and_then(|row| row.try_into().ok()).unwrap_or_default();
        let unsuitable = match (is_plain.as_str(), indexes.is_empty()) {
            ("1", false) => None,
            ("1", true) => Some("its key column has no unique index"),
            _ => Some("it is no plain InnoDB table"),
        };
        let column = |row: Vec<String>| {
            let [name, data_type, full_type, charset, extra] = row.try_into().ok()?;
            Some((name, ColumnDefinition { data_type, full_type, charset, extra }))
        };
        let columns = columns.into_iter().filter_map(column).collect();
        Ok(Self {
            rows: rows.parse().unwrap_or_default(),
            unsuitable,
            columns,
            read_at: source.seen,
        })
    }

    /// Whether the log contains the text of a column as loads read it.
    fn has_logged_text(&self, column: &str) -> bool {
        let found = self.columns.iter().find(|(name, _)| name.eq_ignore_ascii_case(column));
        found.is_some_and(|(_, definition)| definition.has_logged_text())
    }
}

fn rows(result: ResultSet) -> Vec<Vec<String>> {
    let cells = |row: Vec<_>| row.iter().map(|cell| text(cell).unwrap_or_default()).collect();
    result.rows.into_iter().map(cells).collect()
}

impl MariaDbPool {
    /// The dialect in which a contract's statement is a projection. Strings, whose form depends on the server's
    /// `sql_mode`, are no part of one.
    pub const PROJECTION_DIALECT: SqlDialect =
        SqlDialect::MariaDb { backslash_escapes: true, ansi_quotes: false };

    /// Returns the position of the log after which one row of the contract's table is the complete answer for its
    /// key, with the texts that the log contains. `None`: it is not.
    ///
    /// The catalogue is read before the position. A statement that alters the table in between is in the log before the
    /// commits that it affects, and ends the stream, so this is asked again.
    ///
    /// # Errors
    /// The database could not be asked.
    pub async fn rows_match_log_after(
        &self,
        contract: &Contract,
    ) -> Result<Option<Lsn>, OriginError> {
        let (Some(from), Ok(value)) =
            (&contract.from, contract.projection(Self::PROJECTION_DIALECT))
        else {
            return Ok(None);
        };
        let facts = TableFacts::read(self, &from.table, &from.key).await?;
        let is_complete =
            facts.unsuitable.is_none() && value.columns().all(|name| facts.has_logged_text(name));
        Ok(facts.read_at.filter(|_| is_complete))
    }
}
