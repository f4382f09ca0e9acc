//! The scan of a table's ids, page by page along the index of its key.

use std::sync::Arc;

use async_trait::async_trait;
use coherence::Lsn;
use contract::JsonForm;
use database::postgres::ColumnType;
use database::quoting::identifier;
use parking_lot::RwLock;

use super::column::{canonical, form, logged_text, typed_parameter};
use super::pool::{PostgresPool, column_error, origin_error};
use super::query::{AsText, LOG_END};
use crate::origin::error::OriginError;
use crate::origin::key_scan::{KeyPage, KeyScan, ScanEstimate};

/// The scan of a table.
pub(super) struct TableScan {
    pool: PostgresPool,
    pages: RwLock<Arc<TablePages>>,
}

/// A table, its key column, and the statements that read its pages.
pub(super) struct TablePages {
    /// As SQL identifier.
    table: String,
    key: String,
    form: Option<JsonForm>,
    first_page: String,
    next_page: String,
}

impl TableScan {
    pub(super) fn new(pool: PostgresPool, pages: Arc<TablePages>) -> Self {
        Self { pool, pages: RwLock::new(pages) }
    }

    /// Uses other statements from now on.
    pub(super) fn replace(&self, pages: Arc<TablePages>) {
        *self.pages.write() = pages;
    }

    fn pages(&self) -> Arc<TablePages> {
        Arc::clone(&self.pages.read())
    }
}

impl TablePages {
    /// `table` is an SQL identifier.
    pub(super) fn new(table: &str, key: &str, key_type: &ColumnType) -> Self {
        // An unqualified name would refer to the text column in `order by`, and pages would miss ids.
        let column = format!("t.{}", identifier(key));
        let text = logged_text(&column, key_type);
        let page = |which: &str| {
            format!(
                "select array(select {text} from {table} t where {which} order by {column} \
                 limit $1::bigint), {LOG_END}, pg_backend_pid()"
            )
        };
        let next = typed_parameter(key_type, 2);
        Self {
            table: table.to_owned(),
            key: key.to_owned(),
            form: form(key_type),
            first_page: page(&format!("{column} is not null")),
            next_page: page(&format!("{column} > {next}")),
        }
    }
}

/// Whether rows are inserted and deleted only in ways that the log shows, and each id is written in one way.
const ESTIMATE: &str = "select case \
      when c.relkind <> 'r' then 'it is no plain table, so rows may come without being inserted \
(attached partitions)' \
      when c.relrowsecurity then 'row security may hide rows and show them again' \
      when c.relhassubclass then 'other tables inherit from it' \
      when not exists (select from pg_index i join pg_attribute a \
        on a.attrelid = c.oid and a.attnum = i.indkey[0] \
        where i.indrelid = c.oid and i.indisunique and i.indisvalid and i.indnkeyatts = 1 \
        and i.indpred is null and i.indexprs is null and a.attname = $2) \
        then 'its key column has no unique index' \
      when exists (select from pg_attribute a join pg_collation o on o.oid = a.attcollation \
        where a.attrelid = c.oid and a.attname = $2 and not o.collisdeterministic) \
        then 'its key column takes different texts for equal' \
      end, greatest(c.reltuples, 0)::bigint \
    from pg_class c where c.oid = to_regclass($1)";

#[async_trait]
impl KeyScan for TableScan {
    async fn estimate(&self) -> Result<ScanEstimate, OriginError> {
        let pages = self.pages();
        let client = self.pool.connection().await?;
        let row = client.query_opt(ESTIMATE, &[&pages.table, &pages.key]).await;
        let Some(row) = row.map_err(|err| origin_error(&err))? else {
            return Ok(ScanEstimate { keys: 0, unsuitable: Some("its table is not there".into()) });
        };
        let keys = u64::try_from(row.get::<_, i64>(1)).unwrap_or_default();
        Ok(ScanEstimate { keys, unsuitable: row.get(0) })
    }

    async fn page(&self, after: Option<&str>, limit: usize) -> Result<KeyPage, OriginError> {
        let pages = self.pages();
        let sql = if after.is_some() { &pages.next_page } else { &pages.first_page };
        let client = self.pool.connection().await?;
        let statement = client.prepare_cached(sql).await.map_err(|err| origin_error(&err))?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let row = match after {
            None => client.query_one(&statement, &[&limit]).await,
            Some(after) => client.query_one(&statement, &[&limit, &AsText(after)]).await,
        };
        let row = row.map_err(|err| origin_error(&err))?;
        client.id().check(row.try_get(2).map_err(|err| column_error(&err))?)?;
        let end: Option<&str> = row.try_get(1).map_err(|err| column_error(&err))?;
        let seen = end.map(str::parse::<Lsn>).transpose();
        let seen = seen.map_err(|err| OriginError::broken(err.to_string()))?;
        let ids: Vec<&str> = row.try_get(0).map_err(|err| column_error(&err))?;
        let ids = ids.into_iter().map(|id| canonical(pages.form, id).to_owned());
        Ok(KeyPage { ids: ids.collect(), seen })
    }
}
