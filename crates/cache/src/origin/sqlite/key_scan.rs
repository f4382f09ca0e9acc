//! The scan of a table's ids, page by page along the index of its key.

use async_trait::async_trait;
use database::quoting::identifier;
use database::sqlite::canonical_text;
use rusqlite::Connection;

use super::pool::{SqlitePool, origin_error};
use crate::origin::error::OriginError;
use crate::origin::key_scan::{KeyPage, KeyScan, ScanEstimate};

/// A table and its key column.
#[derive(Clone)]
pub(super) struct TableScan {
    pub(super) pool: SqlitePool,
    pub(super) table: String,
    pub(super) key: String,
}

#[async_trait]
impl KeyScan for TableScan {
    async fn estimate(&self) -> Result<ScanEstimate, OriginError> {
        let scan = self.clone();
        let estimate = move |connection: &Connection| {
            let unsuitable = scan.unsuitable(connection)?.map(str::to_owned);
            let sql = format!("select count(*) from {}", identifier(&scan.table));
            let count = connection.query_row(&sql, [], |row| row.get::<_, i64>(0));
            let keys = u64::try_from(count.map_err(origin_error)?).unwrap_or_default();
            Ok(ScanEstimate { keys, unsuitable })
        };
        self.pool.run(estimate).await
    }

    async fn page(&self, after: Option<&str>, limit: usize) -> Result<KeyPage, OriginError> {
        let (after, scan) = (after.map(str::to_owned), self.clone());
        let read = move |connection: &Connection| {
            let transaction = connection.unchecked_transaction().map_err(origin_error)?;
            // The first statement takes the snapshot, whichever it is.
            let seen = scan.pool.end_of_log(&transaction);
            let (key, table) = (identifier(&scan.key), identifier(&scan.table));
            let which = if after.is_some() { "> ?1" } else { "is not ?1" };
            // No text is equal to a blob, so no id can name one.
            let sql = format!(
                "select t.{key} from {table} t where t.{key} {which} \
                 and typeof(t.{key}) <> 'blob' order by t.{key} limit {limit}"
            );
            let mut statement = transaction.prepare_cached(&sql).map_err(origin_error)?;
            let id = |row: &rusqlite::Row<'_>| {
                Ok(canonical_text(row.get_ref(0)?).unwrap_or_default().into_owned())
            };
            let ids = statement.query_map([after], id).map_err(origin_error)?;
            let ids = ids.collect::<Result<Vec<String>, _>>().map_err(origin_error)?;
            Ok(KeyPage { ids, seen })
        };
        self.pool.run(read).await
    }
}

impl TableScan {
    /// Returns the reason why one id may be written in two ways, or why the table has no index to scan.
    fn unsuitable(&self, connection: &Connection) -> Result<Option<&'static str>, OriginError> {
        let (table, key) = (self.table.as_str(), self.key.as_str());
        let column = connection.column_metadata(None::<&str>, table, key).map_err(origin_error)?;
        let (declared, collation, ..) = column;
        let declared = declared.and_then(|name| name.to_str().ok()).unwrap_or_default();
        let declared = declared.to_ascii_uppercase();
        let plain = ["INT", "CHAR", "CLOB", "TEXT"].iter().any(|kind| declared.contains(kind));
        if !plain {
            return Ok(Some("its key column is neither of an integer nor of a text type"));
        }
        if collation.is_none_or(|name| !name.to_bytes().eq_ignore_ascii_case(b"BINARY")) {
            return Ok(Some("its key column takes different texts for equal"));
        }
        let sql = "select exists(select 1 from pragma_index_list(?1) l where l.\"unique\" and not l.partial \
                     and (select group_concat(i.name) from pragma_index_info(l.name) i) = ?2 collate nocase) \
                   or (select group_concat(name) from pragma_table_info(?1) where pk > 0) = ?2 collate nocase";
        let unique: Option<bool> =
            connection.query_row(sql, (table, key), |row| row.get(0)).map_err(origin_error)?;
        let missing = "its key column has no unique index";
        Ok(if unique == Some(true) { None } else { Some(missing) })
    }
}
