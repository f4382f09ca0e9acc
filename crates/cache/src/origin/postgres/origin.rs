//! The loads of one contract from the primary.

use std::any::Any;
use std::sync::Arc;

use async_trait::async_trait;
use coherence::{Log, Lsn};
use contract::{Contract, Key};
use database::quoting::identifier;

use super::key_scan::TableScan;
use super::pool::{PostgresPool, log_of, origin_error, table_name};
use super::query::{AsText, LOG_END, in_one_snapshot, read_row};
use crate::origin::error::OriginError;
use crate::origin::key_scan::KeyScan;
use crate::origin::load::{LoadItem, Loaded, LoadedMany, Origin, load_separately};
use crate::origin::row::{loaded_row, source};
use crate::origin::sql::{no_such_table, not_loadable, numbered_statement};

/// Key types whose equal values have one text form.
const CANONICAL: [&str; 6] = ["smallint", "integer", "bigint", "uuid", "text", "character varying"];

/// Loads the values of one contract. Every load is one statement, so all of it is from one snapshot.
pub struct PostgresOrigin {
    pub(super) contract: Contract,
    pool: PostgresPool,
    /// The statement before and after its last column, the server's report on itself.
    parts: [String; 2],
    load: String,
    scan: TableScan,
    pub(super) standbys: Vec<Arc<dyn Origin>>,
}

impl PostgresOrigin {
    /// Reads the key column's type from the catalogue and builds the statement.
    ///
    /// # Errors
    /// The database can't be reached, or the contract does not fit it: no such table or column, or a key
    /// column whose values can be written in several ways.
    pub async fn prepare(contract: Contract, pool: PostgresPool) -> Result<Self, OriginError> {
        let (Some(value), Some(from)) = (contract.value.clone(), contract.from.clone()) else {
            return Err(not_loadable(&contract));
        };
        let table = table_name(&from.table);
        let client = pool.connection().await?;
        let key_type = client
            .query_opt(
                "select format_type(a.atttypid, null) from pg_attribute a \
                 where a.attrelid = to_regclass($1) and a.attname = $2 and not a.attisdropped",
                &[&table, &from.key],
            )
            .await
            .map_err(|err| origin_error(&err))?
            .map(|row| row.get::<_, String>(0))
            .ok_or_else(|| no_such_table(&contract.name, &from.table, &from.key))?;
        if !CANONICAL.contains(&key_type.as_str()) {
            return Err(OriginError::broken(format!(
                "contract {}: {}.{} is of type {key_type}; equal values of that type can be written \
                 in several ways, so one row could be stored under several keys. Use a key column of \
                 type {}",
                contract.name,
                from.table,
                from.key,
                CANONICAL.join(", "),
            )));
        }
        // As text, the form in which the log contains them.
        let as_text = |column: &str| format!("{0}::text as {0}", identifier(column));
        let columns: Vec<String> = contract.load_columns().into_iter().map(as_text).collect();
        let (columns, key) = (columns.join(", "), identifier(&from.key));
        let value = numbered_statement(&contract, &value)?;
        // No lateral joins: a column that the contract misspells must not resolve to one of this statement.
        // The line break ends a comment at the end of the contract's statement.
        let parts = [
            "select k.id, v.value, t.columns, ".to_owned(),
            format!(
                " from (select ($2::{key_type})::text as id) k \
             left join (select row_to_json(x)::text as value from ({value}\n) x limit 2) v on true \
             left join (select row_to_json(y)::text as columns from (select {columns} from {table} \
             where {key} = $2::{key_type} limit 1) y) t on true"
            ),
        ];
        let load = parts.join(LOG_END);
        client.prepare_cached(&load).await.map_err(|err| {
            let cause = err.as_db_error().map_or_else(|| err.to_string(), ToString::to_string);
            OriginError::broken(format!(
                "contract {}: its `value` is refused by the database: {cause}",
                contract.name
            ))
        })?;
        drop(client);
        let scan = TableScan::new(pool.clone(), &table, &from.key, &key, &key_type);
        Ok(Self { contract, pool, parts, load, scan, standbys: Vec::new() })
    }

    /// Returns the statement with `report` as the server's report on itself.
    pub(super) fn statement(&self, report: &str) -> String {
        self.parts.join(report)
    }

    /// Reads the value in `rows`, which the primary that writes `log` has returned.
    fn read(
        &self,
        id: &str,
        log: Option<Log>,
        rows: &[tokio_postgres::Row],
    ) -> Result<Loaded, OriginError> {
        let (content, columns, end) = read_row(&self.contract, id, rows)?;
        let seen = end.map(str::parse::<Lsn>).transpose();
        let seen = seen.map_err(|err| OriginError::broken(err.to_string()))?;
        let loaded = loaded_row(&self.contract, id, content, &columns, seen)?;
        Ok(Loaded { log, ..loaded })
    }

    async fn query(
        &self,
        id: &str,
    ) -> Result<(Option<Log>, Vec<tokio_postgres::Row>), OriginError> {
        let client = self.pool.connection().await?;
        let statement =
            client.prepare_cached(&self.load).await.map_err(|err| origin_error(&err))?;
        let id = AsText(id);
        let rows = client.query(&statement, &[&id, &id]).await;
        Ok((log_of(&client), rows.map_err(|err| origin_error(&err))?))
    }
}

#[async_trait]
impl Origin for PostgresOrigin {
    fn name(&self) -> &str {
        source(&self.contract)
    }

    fn standbys(&self) -> &[Arc<dyn Origin>] {
        &self.standbys
    }

    async fn load(&self, _key: &Key, id: &str) -> Result<Loaded, OriginError> {
        let (log, rows) = self.query(id).await?;
        self.read(id, log, &rows)
    }

    fn key_scan(&self) -> Option<&dyn KeyScan> {
        Some(&self.scan)
    }

    /// One transaction with one snapshot.
    async fn load_many(&self, items: &[LoadItem<'_>]) -> Result<LoadedMany, OriginError> {
        let same_pool = items.iter().map(|item| {
            let origin: &dyn Any = item.origin;
            let origin = origin.downcast_ref::<Self>();
            origin.filter(|other| other.pool.is_same(&self.pool))
        });
        let Some(origins) = same_pool.collect::<Option<Vec<_>>>() else {
            return Ok(load_separately(items).await);
        };
        let connection = self.pool.borrow().await?;
        let log = log_of(connection.client());
        let queries: Vec<_> = origins
            .iter()
            .zip(items)
            .map(|(origin, item)| (&*origin.load, AsText(item.id)))
            .collect();
        let (_, answers) = in_one_snapshot(connection, None, &queries).await?;
        let items =
            items.iter().zip(origins).zip(answers).map(|((item, origin), rows)| match rows {
                Ok(rows) => origin.read(item.id, log, &rows),
                Err(err) => Err(origin_error(&err)),
            });
        Ok(LoadedMany { items: items.collect(), one_snapshot: true })
    }
}
