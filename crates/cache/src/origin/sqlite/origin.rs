//! The loads of one contract.

use std::any::Any;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use coherence::{ClockTime, Lsn};
use contract::{Cell, Contract, Key, MatchedColumns, Row, SqlDialect};
use database::quoting::identifier;
use database::sqlite::{CLOCK_SQL, canonical_text};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Statement};

use super::key_scan::TableScan;
use super::pool::{SqlitePool, origin_error};
use crate::entry::{Content, Value};
use crate::origin::error::OriginError;
use crate::origin::key_scan::KeyScan;
use crate::origin::load::{LoadItem, Loaded, LoadedMany, Origin, TimedChange, load_separately};
use crate::origin::row::{loaded_rows, row_limit, source};
use crate::origin::sql::{
    ValueStatement, check_watched, item, more_than_one_row, next_change, no_such_table,
    not_loadable, other_type,
};

/// Loads the values of one contract, each in one read transaction.
#[derive(Clone)]
pub struct SqliteOrigin {
    contract: Arc<Contract>,
    pool: SqlitePool,
    statement: Arc<ValueStatement>,
    /// The statement with SQLite's numbers for its parameters.
    value: Arc<str>,
    /// The contract's `changes_at`, with the same numbers.
    changes: Option<Arc<str>>,
    columns: Arc<str>,
    scan: TableScan,
}

impl SqliteOrigin {
    /// Checks the key column's type in the file and builds the statements.
    ///
    /// # Errors
    /// The file can't be read, or the contract does not fit it: no such table or column, or a key column
    /// without a type by which SQLite compares an id with it.
    pub fn prepare(contract: Contract, pool: SqlitePool) -> Result<Self, OriginError> {
        let (Some(value), Some(from)) = (contract.value.clone(), contract.from.clone()) else {
            return Err(not_loadable(&contract));
        };
        let statement = ValueStatement::new(&contract, &value, SqlDialect::Sqlite)?;
        let text = value;
        let number = |number| format!("?{}", number + 1);
        let (value, changes) = (statement.sql(number), statement.changes_sql(number));
        let columns: Vec<String> = contract.load_columns().into_iter().map(identifier).collect();
        let conditions: Vec<String> = [&from.key]
            .into_iter()
            .chain(&from.variants)
            .enumerate()
            .map(|(at, column)| format!("{} = ?{}", identifier(column), at + 1))
            .collect();
        let columns = format!(
            "select {} from {} where {} limit {}",
            columns.join(", "),
            identifier(&from.table),
            conditions.join(" and "),
            row_limit(&contract)
        );
        pool.with(|connection| {
            connection.prepare(&value).map_err(|err| {
                OriginError::broken(format!(
                    "contract {}: its `value` is refused: {err}",
                    contract.name
                ))
            })?;
            if let Some(changes) = &changes {
                connection.prepare(changes).map_err(|err| {
                    OriginError::broken(format!(
                        "contract {}: its `changes_at` is refused: {err}",
                        contract.name
                    ))
                })?;
            }
            for column in [&from.key].into_iter().chain(&from.variants) {
                key_type(connection, &contract.name, &from.table, column)?;
            }
            check_joined(connection, &contract)?;
            let columns = column_names(connection, &from.table).map_err(origin_error)?;
            check_watched(&contract, &text, SqlDialect::Sqlite, &columns)
        })?;
        let scan = TableScan { pool: pool.clone(), table: from.table, key: from.key };
        let contract = Arc::new(contract);
        let (value, statement) = (value.into(), Arc::new(statement));
        let changes = changes.map(Arc::from);
        Ok(Self { contract, pool, statement, value, changes, columns: columns.into(), scan })
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
        let item = item(contract, id)?;
        let parameters: Vec<&str> =
            [&*item.id].into_iter().chain(self.statement.values(&item)).collect();
        // Before the value, so that a time between the two counts as the next change.
        let change = self.next_change(transaction, &parameters)?;
        let mut value = transaction.prepare_cached(&self.value).map_err(origin_error)?;
        let rows = first_rows(&mut value, parameters, 2, json_object)?;
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
        let mut columns = transaction.prepare_cached(&self.columns).map_err(origin_error)?;
        // The first variants, in the order of the key.
        let mapped = contract.from.as_ref().map_or(0, |from| from.variants.len());
        let mapped = item.variants.iter().take(mapped).map(|(_, value)| value.as_str());
        let parameters: Vec<&str> = [&*item.id].into_iter().chain(mapped).collect();
        let limit = row_limit(contract);
        let found = first_rows(&mut columns, parameters.clone(), limit, cells)?;
        let row = |cells: Vec<Cell>| contract.load_columns().into_iter().zip(cells).collect();
        let rows: Vec<Row> = found.into_iter().map(row).collect();
        // The statements above have read the present schema.
        let from =
            contract.from.iter().flat_map(|from| [&from.key].into_iter().chain(&from.variants));
        for (column, value) in from.zip(parameters) {
            let kind = key_type(transaction, &contract.name, &self.scan.table, column)?;
            let is_written = |number: i64| number.to_string() == value;
            if kind == KeyType::Integer && !value.parse().is_ok_and(is_written) {
                return Err(OriginError::bad_request(format!(
                    "{value:?} is not an integer as the database writes it"
                )));
            }
        }
        Ok(Loaded { change, ..loaded_rows(contract, &item, content, &rows, seen)? })
    }

    fn next_change(
        &self,
        transaction: &Connection,
        parameters: &[&str],
    ) -> Result<Option<TimedChange>, OriginError> {
        let Some(changes) = &self.changes else { return Ok(None) };
        let mut clock = transaction.prepare_cached(CLOCK_SQL).map_err(origin_error)?;
        let shown: i64 = clock.query_row([], |row| row.get(0)).map_err(origin_error)?;
        // It may be as much as this earlier, and computes the value with that.
        let now = shown.saturating_sub(999);
        let time = |micros: i64| u64::try_from(micros).ok().and_then(ClockTime::from_micros);
        let times = time(now).zip(time(shown));
        let times =
            times.ok_or_else(|| OriginError::broken("the clock shows no time after 1970"))?;
        let mut statement = transaction.prepare_cached(changes).map_err(origin_error)?;
        // It may take fewer parameters than the value.
        let used = statement.parameter_count().min(parameters.len());
        let rows = first_rows(&mut statement, parameters[..used].to_vec(), usize::MAX, cells)?;
        let texts = rows.into_iter().flatten().filter_map(|cell| match cell {
            Cell::Text(text) => Some(text),
            _ => None,
        });
        next_change(&self.contract, texts, times)
    }
}

fn column_names(connection: &Connection, table: &str) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare("select name from pragma_table_xinfo(?1)")?;
    statement.query_map([table], |row| row.get(0))?.collect()
}

/// The type of a key column, as far as it decides which texts are ids.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum KeyType {
    Integer,
    Other,
}

/// Returns the key column's type in the schema that the connection has read last.
fn key_type(
    connection: &Connection,
    contract: &str,
    table: &str,
    key: &str,
) -> Result<KeyType, OriginError> {
    let column = connection.column_metadata(None::<&str>, table, key);
    let (declared, ..) = column.map_err(|_| no_such_table(contract, table, key))?;
    let declared = declared.and_then(|name| name.to_str().ok()).unwrap_or_default();
    let declared = declared.to_ascii_uppercase();
    // https://sqlite.org/datatype3.html#determination_of_column_affinity
    if declared.contains("INT") {
        return Ok(KeyType::Integer);
    }
    let is_text = ["CHAR", "CLOB", "TEXT"].iter().any(|kind| declared.contains(kind));
    if !is_text && (declared.is_empty() || declared.contains("BLOB") || declared == "ANY") {
        return Err(OriginError::broken(format!(
            "contract {contract}: {table}.{key} is declared without a type, or as BLOB or ANY, so SQLite \
             finds no integer or blob by the text of its id. Declare the key column as INTEGER or TEXT",
        )));
    }
    Ok(KeyType::Other)
}

/// Checks the columns of joined tables by which their rows name entries.
fn check_joined(connection: &Connection, contract: &Contract) -> Result<(), OriginError> {
    let read = |table: &str, column: &str| key_type(connection, &contract.name, table, column);
    for MatchedColumns { own, joined } in contract.matched_columns() {
        let kind = read(joined.table, joined.column)?;
        let Some(own) = own else { continue };
        if read(own.table, own.column)? != kind {
            return Err(other_type(contract, own, joined));
        }
    }
    Ok(())
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

/// Returns at most `limit` rows.
fn first_rows<T>(
    statement: &mut Statement<'_>,
    parameters: Vec<&str>,
    limit: usize,
    read: impl Fn(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>, OriginError> {
    let parameters = rusqlite::params_from_iter(parameters);
    let mut rows = statement.query(parameters).map_err(origin_error)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(origin_error)? {
        found.push(read(row).map_err(origin_error)?);
        if found.len() == limit {
            break;
        }
    }
    Ok(found)
}

/// The names come from the row: a statement that was prepared before the table was altered has the columns of
/// the present table only when it runs.
fn json_object(
    row: &rusqlite::Row<'_>,
) -> rusqlite::Result<serde_json::Map<String, serde_json::Value>> {
    let statement = row.as_ref();
    let column =
        |index| Ok((statement.column_name(index)?.to_owned(), json_value(row.get_ref(index)?)));
    (0..statement.column_count()).map(column).collect()
}

fn cells(row: &rusqlite::Row<'_>) -> rusqlite::Result<Vec<Cell>> {
    let cell = |index| {
        let text = canonical_text(row.get_ref(index)?);
        Ok(text.map_or(Cell::Null, |text| Cell::Text(text.into_owned())))
    };
    (0..row.as_ref().column_count()).map(cell).collect()
}

fn json_value(value: ValueRef<'_>) -> serde_json::Value {
    match value {
        ValueRef::Null => serde_json::Value::Null,
        ValueRef::Integer(number) => number.into(),
        ValueRef::Real(number) => number.into(),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into(),
        ValueRef::Blob(bytes) => String::from_utf8_lossy(bytes).into(),
    }
}
