//! The loads of one contract.

use std::any::Any;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use coherence::Lsn;
use contract::{Cell, Contract, Key};
use database::quoting::identifier;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Statement};

use super::key_scan::TableScan;
use super::pool::{SqlitePool, origin_error};
use crate::entry::{Content, Value};
use crate::origin::error::OriginError;
use crate::origin::key_scan::KeyScan;
use crate::origin::load::{LoadItem, Loaded, LoadedMany, Origin, load_separately};
use crate::origin::row::{absent_row, loaded_row, source};
use crate::origin::sql::{more_than_one_row, no_such_table, not_loadable, numbered_statement};

/// Loads the values of one contract, each in one read transaction.
#[derive(Clone)]
pub struct SqliteOrigin {
    contract: Arc<Contract>,
    pool: SqlitePool,
    value: Arc<str>,
    tags: Arc<str>,
    integer_key: bool,
    scan: TableScan,
}

impl SqliteOrigin {
    /// Reads the key column's type from the file and builds the statements.
    ///
    /// # Errors
    /// The file can't be read, or the contract does not fit it.
    pub fn prepare(contract: Contract, pool: SqlitePool) -> Result<Self, OriginError> {
        let (Some(value), Some(from)) = (contract.value.clone(), contract.from.clone()) else {
            return Err(not_loadable(&contract));
        };
        let value = numbered_statement(&contract, &value)?;
        let columns: Vec<String> = contract.load_columns().into_iter().map(identifier).collect();
        let (table, key) = (identifier(&from.table), identifier(&from.key));
        let tags = format!("select {} from {table} where {key} = ?1", columns.join(", "));
        let integer_key = pool.with(|connection| {
            connection.prepare(&value).map_err(|err| {
                OriginError::broken(format!(
                    "contract {}: its `value` is refused: {err}",
                    contract.name
                ))
            })?;
            let sql = "select upper(type) like '%INT%' from pragma_table_info(?1) where name = ?2";
            connection
                .query_row(sql, (&from.table, &from.key), |row| row.get(0))
                .map_err(|_| no_such_table(&contract.name, &from.table, &from.key))
        })?;
        let scan = TableScan { pool: pool.clone(), table: from.table, key: from.key };
        let contract = Arc::new(contract);
        Ok(Self { contract, pool, value: value.into(), tags: tags.into(), integer_key, scan })
    }

    /// Loads several ids in one read transaction.
    async fn load_in_one_snapshot(
        pool: &SqlitePool,
        items: Vec<(Self, String)>,
    ) -> Result<Vec<Result<Loaded, OriginError>>, OriginError> {
        let log = pool.clone();
        pool.run(move |connection| {
            let transaction = connection.unchecked_transaction().map_err(origin_error)?;
            // The first statement takes the snapshot, whichever it is.
            let seen = log.end_of_log(&transaction);
            Ok(items.iter().map(|(origin, id)| origin.read(&transaction, id, seen)).collect())
        })
        .await
    }

    fn read(
        &self,
        transaction: &Connection,
        id: &str,
        seen: Option<Lsn>,
    ) -> Result<Loaded, OriginError> {
        let contract = &*self.contract;
        if self.integer_key && id.parse::<i64>().map(|n| n.to_string()).as_deref() != Ok(id) {
            return Err(OriginError::bad_request(format!(
                "{id:?} is not an integer as the database writes it"
            )));
        }
        let mut value = transaction.prepare_cached(&self.value).map_err(origin_error)?;
        let rows = first_two_rows(&mut value, id)?;
        if rows.len() > 1 {
            return Err(more_than_one_row(contract));
        }
        let content = match rows.into_iter().next() {
            Some(row) => {
                let json = serde_json::to_vec(&row);
                let json = json.map_err(|err| OriginError::broken(err.to_string()))?;
                Content::Present(Value { head: Bytes::new(), body: Bytes::from(json) })
            }
            None => Content::Absent,
        };
        let mut tags = transaction.prepare_cached(&self.tags).map_err(origin_error)?;
        let columns = match first_two_rows(&mut tags, id)?.into_iter().next() {
            Some(columns) => columns.into_iter().map(|(name, value)| (name, cell(value))).collect(),
            None => absent_row(contract, id),
        };
        loaded_row(contract, id, content, &columns, seen)
    }
}

#[async_trait]
impl Origin for SqliteOrigin {
    fn name(&self) -> &str {
        source(&self.contract)
    }

    async fn load(&self, _key: &Key, id: &str) -> Result<Loaded, OriginError> {
        let items = vec![(self.clone(), id.to_owned())];
        let mut loaded = Self::load_in_one_snapshot(&self.pool, items).await?;
        loaded.pop().unwrap_or_else(|| Err(OriginError::broken("nothing was read")))
    }

    fn key_scan(&self) -> Option<&dyn KeyScan> {
        Some(&self.scan)
    }

    /// One read transaction.
    async fn load_many(&self, items: &[LoadItem<'_>]) -> Result<LoadedMany, OriginError> {
        let same_pool = items.iter().map(|item| {
            let origin: &dyn Any = item.origin;
            let origin = origin.downcast_ref::<Self>();
            let origin = origin.filter(|other| other.pool.is_same(&self.pool))?;
            Some((origin.clone(), item.id.to_owned()))
        });
        let Some(same_pool) = same_pool.collect::<Option<Vec<_>>>() else {
            return Ok(load_separately(items).await);
        };
        let items = Self::load_in_one_snapshot(&self.pool, same_pool).await?;
        Ok(LoadedMany { items, one_snapshot: true })
    }
}

type JsonRow = serde_json::Map<String, serde_json::Value>;

/// Returns at most two rows. The second one only shows that there is more than one.
fn first_two_rows(statement: &mut Statement<'_>, id: &str) -> Result<Vec<JsonRow>, OriginError> {
    let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let mut rows = statement.query([id]).map_err(origin_error)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(origin_error)? {
        let mut json = JsonRow::new();
        for (index, name) in names.iter().enumerate() {
            json.insert(name.clone(), value(row.get_ref(index).map_err(origin_error)?));
        }
        found.push(json);
        if found.len() == 2 {
            break;
        }
    }
    Ok(found)
}

fn value(value: ValueRef<'_>) -> serde_json::Value {
    match value {
        ValueRef::Null => serde_json::Value::Null,
        ValueRef::Integer(number) => number.into(),
        ValueRef::Real(number) => number.into(),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into(),
        ValueRef::Blob(bytes) => String::from_utf8_lossy(bytes).into(),
    }
}

fn cell(value: serde_json::Value) -> Cell {
    match value {
        serde_json::Value::Null => Cell::Null,
        serde_json::Value::String(text) => Cell::Text(text),
        other => Cell::Text(other.to_string()),
    }
}
