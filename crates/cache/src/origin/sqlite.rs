//! A SQL statement on an SQLite file as origin.

mod roll;

use std::any::Any;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use coherence::Lsn;
use contract::{Cell, Contract, Key};
use parking_lot::Mutex;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, Statement};

use super::{
    Ask, Loaded, LoadedMany, Origin, OriginError, OriginErrorKind, Roll, absent_row, loaded,
    no_such_table, quoted, side_by_side, source, statement,
};
use crate::entry::{Content, Value};

/// Read-only connections to one file; made as needed, kept for the next load.
#[derive(Clone)]
pub struct SqlitePool {
    path: PathBuf,
    idle: Arc<Mutex<Vec<Connection>>>,
    timeout: Duration,
    log_end: Option<&'static str>,
}

impl SqlitePool {
    /// `timeout`: how long a statement waits for a lock.
    #[must_use]
    pub fn new(path: &Path, timeout: Duration) -> Self {
        Self { path: path.to_owned(), idle: Arc::default(), timeout, log_end: None }
    }

    /// Has each load ask `sql`, one number, for the end of the log. Where that can't be asked (there is
    /// no log yet), loads [don't say](Loaded::seen) how far they have seen.
    #[must_use]
    pub fn with_log_end(self, sql: &'static str) -> Self {
        Self { log_end: Some(sql), ..self }
    }

    fn end_of_log(&self, connection: &Connection) -> Option<Lsn> {
        let mut statement = connection.prepare_cached(self.log_end?).ok()?;
        let end = statement.query_row([], |row| row.get::<_, i64>(0)).ok()?;
        Some(Lsn(end.cast_unsigned()))
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
#[derive(Clone)]
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
        let mut loaded = self.pool.clone().read_all(vec![(self.clone(), id.to_owned())]).await?;
        loaded.pop().unwrap_or_else(|| Err(broken("nothing was read".into())))
    }

    fn roll(&self) -> Option<&dyn Roll> {
        Some(self)
    }

    /// One read transaction.
    async fn load_many(&self, asks: &[Ask<'_>]) -> Result<LoadedMany, OriginError> {
        let ours = asks.iter().map(|ask| {
            let origin: &dyn Any = ask.origin;
            let origin = origin.downcast_ref::<Self>();
            let same = |other: &&Self| Arc::ptr_eq(&other.pool.idle, &self.pool.idle);
            Some((origin.filter(same)?.clone(), ask.id.to_owned()))
        });
        let Some(ours) = ours.collect::<Option<Vec<_>>>() else {
            return Ok(side_by_side(asks).await);
        };
        let items = self.pool.clone().read_all(ours).await?;
        Ok(LoadedMany { items, one_snapshot: true })
    }
}

fn broken(message: String) -> OriginError {
    OriginError { kind: OriginErrorKind::Broken, message }
}

impl SqlitePool {
    async fn read_all(
        self,
        asks: Vec<(SqliteOrigin, String)>,
    ) -> Result<Vec<Result<Loaded, OriginError>>, OriginError> {
        let load = move || {
            self.with(|connection| {
                let transaction = connection.unchecked_transaction().map_err(classify)?;
                // The first statement takes the snapshot, whichever it is.
                let seen = self.end_of_log(&transaction);
                Ok(asks.iter().map(|(origin, id)| origin.read(&transaction, id, seen)).collect())
            })
        };
        let done = tokio::task::spawn_blocking(load).await;
        done.unwrap_or_else(|err| Err(broken(err.to_string())))
    }
}

impl SqliteOrigin {
    fn read(
        &self,
        transaction: &Connection,
        id: &str,
        seen: Option<Lsn>,
    ) -> Result<Loaded, OriginError> {
        let contract = &*self.contract;
        if self.integer_key && id.parse::<i64>().map(|n| n.to_string()).as_deref() != Ok(id) {
            return Err(OriginError {
                kind: OriginErrorKind::BadRequest,
                message: format!("{id:?} is not an integer as the database writes it"),
            });
        }
        let mut value = transaction.prepare_cached(&self.value).map_err(classify)?;
        let rows = rows(&mut value, id)?;
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
        let mut tags = transaction.prepare_cached(&self.tags).map_err(classify)?;
        let found = self::rows(&mut tags, id)?;
        let columns = match found.into_iter().next() {
            Some(columns) => columns.into_iter().map(|(name, value)| (name, cell(value))).collect(),
            None => absent_row(contract, id),
        };
        loaded(contract, id, content, &columns, seen)
    }
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
