//! The ids of a table, a page at a time along the index of its key.

use async_trait::async_trait;
use contract::Origin as From;
use rusqlite::Connection;

use super::super::{Page, Roll, Rows};
use super::{OriginError, SqliteOrigin, broken, classify, quoted};

#[async_trait]
impl Roll for SqliteOrigin {
    async fn rows(&self) -> Result<Rows, OriginError> {
        self.asked(|connection, from| {
            let unfit = unfit(connection, from)?.map(str::to_owned);
            let sql = format!("select count(*) from {}", quoted(&from.table));
            let about = connection.query_row(&sql, [], |row| row.get::<_, i64>(0));
            let about = u64::try_from(about.map_err(classify)?).unwrap_or_default();
            Ok(Rows { about, unfit })
        })
        .await
    }

    async fn page(&self, after: Option<&str>, most: usize) -> Result<Page, OriginError> {
        let (after, origin) = (after.map(str::to_owned), self.clone());
        self.asked(move |connection, from| {
            let transaction = connection.unchecked_transaction().map_err(classify)?;
            // The first statement takes the snapshot, whichever it is.
            let seen = origin.pool.end_of_log(&transaction);
            let (key, table) = (quoted(&from.key), quoted(&from.table));
            let which = if after.is_some() { "> ?1" } else { "is not ?1" };
            // No text is equal to a blob, so nobody can ask for one.
            let sql = format!(
                "select cast(t.{key} as text) from {table} t where t.{key} {which} \
                 and typeof(t.{key}) <> 'blob' order by t.{key} limit {most}"
            );
            let mut statement = transaction.prepare_cached(&sql).map_err(classify)?;
            let ids = statement.query_map([after], |row| row.get(0)).map_err(classify)?;
            let ids = ids.collect::<Result<Vec<String>, _>>().map_err(classify)?;
            Ok(Page { ids, seen })
        })
        .await
    }
}

impl SqliteOrigin {
    async fn asked<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Connection, &From) -> Result<T, OriginError> + Send + 'static,
    ) -> Result<T, OriginError> {
        let origin = self.clone();
        let ask = move || {
            let from = origin.contract.from.as_ref();
            let from = from.ok_or_else(|| broken("the contract has no table".into()))?;
            origin.pool.with(|connection| question(connection, from))
        };
        let done = tokio::task::spawn_blocking(ask).await;
        done.unwrap_or_else(|err| Err(broken(err.to_string())))
    }
}

/// Why an id may have two names, or its table can't be read along an index.
fn unfit(connection: &Connection, from: &From) -> Result<Option<&'static str>, OriginError> {
    let (table, key) = (from.table.as_str(), from.key.as_str());
    let column = connection.column_metadata(None::<&str>, table, key).map_err(classify)?;
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
                 and (select group_concat(i.name) from pragma_index_info(l.name) i) = ?2) \
               or (select group_concat(name) from pragma_table_info(?1) where pk > 0) = ?2";
    let unique: Option<bool> =
        connection.query_row(sql, (table, key), |row| row.get(0)).map_err(classify)?;
    let missing = "its key column has no unique index";
    Ok(if unique == Some(true) { None } else { Some(missing) })
}
