//! A SQL statement on an SQLite file as origin.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use contract::{Cell, Contract, Key};
use parking_lot::Mutex;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, Statement};

use super::{
    Loaded, Origin, OriginError, OriginErrorKind, absent_row, loaded, no_such_table, quoted,
    source, statement,
};
use crate::entry::{Content, Value};

/// Read-only connections to one file; made as needed, kept for the next load.
#[derive(Clone)]
pub struct SqlitePool {
    path: PathBuf,
    idle: Arc<Mutex<Vec<Connection>>>,
    timeout: Duration,
}

impl SqlitePool {
    /// `timeout`: how long a statement waits for a lock.
    #[must_use]
    pub fn new(path: &Path, timeout: Duration) -> Self {
        Self { path: path.to_owned(), idle: Arc::default(), timeout }
    }

    fn with<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, OriginError>,
    ) -> Result<T, OriginError> {
        let idle = self.idle.lock().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => {
                let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
                let connection =
                    Connection::open_with_flags(&self.path, flags).map_err(classify)?;
                connection.busy_timeout(self.timeout).map_err(classify)?;
                connection
            }
        };
        let result = work(&connection);
        self.idle.lock().push(connection);
        result
    }
}

/// Loads one contract's values, each in one read transaction.
pub struct SqliteOrigin {
    contract: Arc<Contract>,
    pool: SqlitePool,
    value: Arc<str>,
    tags: Arc<str>,
    integer_key: bool,
}

impl SqliteOrigin {
    /// Asks the file for the key column's type and builds the statements.
    ///
    /// # Errors
    /// The file can't be read, or the contract doesn't fit it.
    pub fn prepare(contract: Contract, pool: SqlitePool) -> Result<Self, OriginError> {
        let broken = |message: String| OriginError { kind: OriginErrorKind::Broken, message };
        let (Some(value), Some(from)) = (contract.value.clone(), contract.from.clone()) else {
            return Err(broken(format!(
                "contract {}: needs `value` and `from` to be loaded from a database",
                contract.name
            )));
        };
        let value = statement(&contract, &value)?;
        let columns: Vec<String> = contract.load_columns().into_iter().map(quoted).collect();
        let (table, key) = (quoted(&from.table), quoted(&from.key));
        let tags = format!("select {} from {table} where {key} = ?1", columns.join(", "));
        let integer_key = pool.with(|connection| {
            connection.prepare(&value).map_err(|err| {
                broken(format!("contract {}: its `value` is refused: {err}", contract.name))
            })?;
            let sql = "select upper(type) like '%INT%' from pragma_table_info(?1) where name = ?2";
            connection
                .query_row(sql, (&from.table, &from.key), |row| row.get(0))
                .map_err(|_| no_such_table(&contract.name, &from.table, &from.key))
        })?;
        let contract = Arc::new(contract);
        Ok(Self { contract, pool, value: value.into(), tags: tags.into(), integer_key })
    }
}

#[async_trait]
impl Origin for SqliteOrigin {
    fn name(&self) -> &str {
        source(&self.contract)
    }

    async fn load(&self, _key: &Key, id: &str) -> Result<Loaded, OriginError> {
        if self.integer_key && id.parse::<i64>().map(|n| n.to_string()).as_deref() != Ok(id) {
            return Err(OriginError {
                kind: OriginErrorKind::BadRequest,
                message: format!("{id:?} is not an integer as the database writes it"),
            });
        }
        let (pool, contract) = (self.pool.clone(), Arc::clone(&self.contract));
        let (value, tags) = (Arc::clone(&self.value), Arc::clone(&self.tags));
        let id = id.to_owned();
        let load = move || pool.with(|connection| read(connection, &contract, &value, &tags, &id));
        tokio::task::spawn_blocking(load).await.unwrap_or_else(|err| {
            Err(OriginError { kind: OriginErrorKind::Broken, message: err.to_string() })
        })
    }
}

fn read(
    connection: &Connection,
    contract: &Contract,
    value: &str,
    tags: &str,
    id: &str,
) -> Result<Loaded, OriginError> {
    let transaction = connection.unchecked_transaction().map_err(classify)?;
    let mut value = transaction.prepare_cached(value).map_err(classify)?;
    let rows = rows(&mut value, id)?;
    let broken = |message: String| OriginError { kind: OriginErrorKind::Broken, message };
    if rows.len() > 1 {
        return Err(broken(format!(
            "contract {}: `value` returned more than one row for one id; aggregate them",
            contract.name
        )));
    }
    let content = match rows.into_iter().next() {
        Some(row) => {
            let json = serde_json::to_vec(&row).map_err(|err| broken(err.to_string()))?;
            Content::Present(Value { head: Bytes::new(), body: Bytes::from(json) })
        }
        None => Content::Absent,
    };
    let mut tags = transaction.prepare_cached(tags).map_err(classify)?;
    let found = self::rows(&mut tags, id)?;
    let columns = match found.into_iter().next() {
        Some(columns) => columns.into_iter().map(|(name, value)| (name, cell(value))).collect(),
        None => absent_row(contract, id),
    };
    loaded(contract, id, content, &columns)
}

type JsonRow = serde_json::Map<String, serde_json::Value>;

/// At most two rows: the second only shows that there is more than one.
fn rows(statement: &mut Statement<'_>, id: &str) -> Result<Vec<JsonRow>, OriginError> {
    let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let mut rows = statement.query([id]).map_err(classify)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(classify)? {
        let mut json = JsonRow::new();
        for (index, name) in names.iter().enumerate() {
            json.insert(name.clone(), value(row.get_ref(index).map_err(classify)?));
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

fn classify(err: rusqlite::Error) -> OriginError {
    let kind = match err.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => {
            OriginErrorKind::Timeout
        }
        Some(rusqlite::ErrorCode::CannotOpen) => OriginErrorKind::Unavailable,
        _ => OriginErrorKind::Broken,
    };
    OriginError { kind, message: err.to_string() }
}
