//! The statements of one contract, and the values that their results contain.

use bytes::Bytes;
use coherence::ClockTime;
use contract::{Cell, Contract, Item, Row, SqlDialect};
use database::mariadb::ResultSet;
use database::quoting::mariadb_literal;
use mysql_async::Value as SqlValue;

use super::key_column::{ItemColumns, check_joined};
use super::pool::{LoadSource, MariaDbPool};
use super::value::{json_object, text};
use crate::entry::{Content, Value};
use crate::origin::error::{OriginError, OriginErrorKind};
use crate::origin::load::{Loaded, TimedChange};
use crate::origin::row::{loaded_rows, row_limit};
use crate::origin::sql::{
    ValueStatement, check_watched, more_than_one_row, next_change, not_a_time, not_loadable,
};

/// Queries the server's clock, before the value is computed. It is cut to whole µs.
const CLOCK: &str = "select @@timestamp";

/// The results of the statements for one item.
pub(super) struct ItemResults {
    /// The time by the server's clock, and those of the contract's `changes_at`.
    changes: Option<(ResultSet, ResultSet)>,
    value: ResultSet,
    pub(super) columns: ResultSet,
}

/// A contract as SQL of its database.
pub(super) struct ContractStatements {
    pub(super) contract: Contract,
    pub(super) dialect: SqlDialect,
    pub(super) key: ItemColumns,
    value: ValueStatement,
    columns: String,
}

impl ContractStatements {
    /// Reads the key column's type from the catalogue and builds the statements.
    ///
    /// # Errors
    /// The database can't be reached, or the contract does not fit it: no such table or column, or a key
    /// column whose values can be written in several ways.
    pub(super) async fn prepare(
        contract: Contract,
        pool: &MariaDbPool,
    ) -> Result<Self, OriginError> {
        let (Some(text), Some(from)) = (contract.value.clone(), contract.from.clone()) else {
            return Err(not_loadable(&contract));
        };
        let dialect = SqlDialect::mariadb(&pool.sql_mode().await?);
        let value = ValueStatement::new(&contract, &text, dialect)?;
        let key = ItemColumns::read(pool, &contract.name, &from).await?;
        check_joined(pool, &contract).await?;
        let columns = key.select(&contract.load_columns(), row_limit(&contract));
        let key_type = key.key_type();
        // The server refuses a text with more than one statement as a whole.
        let id = key_type.literal(key_type.any_id());
        let probe = value.sql(|number| match number {
            0 => id.clone(),
            _ => mariadb_literal(""),
        });
        pool.parse_statement(&probe).await.map_err(|err| match err.kind {
            OriginErrorKind::Unavailable | OriginErrorKind::Timeout => err,
            _ => OriginError::broken(format!(
                "contract {}: its `value` is refused by the database: {}",
                contract.name, err.message
            )),
        })?;
        if let Some(changes) = value.changes_sql(|number| match number {
            0 => id.clone(),
            _ => mariadb_literal(""),
        }) {
            pool.parse_statement(&changes).await.map_err(|err| match err.kind {
                OriginErrorKind::Unavailable | OriginErrorKind::Timeout => err,
                _ => OriginError::broken(format!(
                    "contract {}: its `changes_at` is refused by the database: {}",
                    contract.name, err.message
                )),
            })?;
            check_times(&contract, pool.run(&changes).await?)?;
        }
        check_watched(&contract, &text, dialect, &key.names_of_columns(pool).await?)?;
        Ok(Self { contract, dialect, key, value, columns })
    }

    /// Returns the statements for one item: those of [`CLOCK`] and `changes_at`, if the contract has it, then the value and the
    /// columns of its names.
    ///
    /// # Errors
    /// The database writes the id in another way, also after a look at the column's present type.
    pub(super) async fn of_item(
        &self,
        item: &Item<'_>,
        pool: &MariaDbPool,
    ) -> Result<Vec<String>, OriginError> {
        let mut literals = self.key.literals(item);
        if literals.is_err() {
            self.key.refresh(pool).await?;
            literals = self.key.literals(item);
        }
        let literals = literals.map_err(|value| {
            let of = if value == item.id { "an id" } else { "a variant" };
            OriginError::bad_request(format!("{value:?} is not {of} as the database writes it"))
        })?;
        // The line break ends a comment at the end of the contract's statement.
        let values = self.value.values(item);
        let literal = |number: usize| match number.checked_sub(1) {
            None => literals[0].clone(),
            Some(variant) => mariadb_literal(values[variant]),
        };
        let (value, changes) = (self.value.sql(literal), self.value.changes_sql(literal));
        let changes = changes.map(|changes| [CLOCK.to_owned(), format!("{changes}\n")]);
        let columns = contract::replace_parameters(&self.columns, self.dialect, |number| {
            let number = number.parse::<usize>().unwrap_or_default();
            literals.get(number.wrapping_sub(1)).cloned().unwrap_or_default()
        });
        let load = [format!("{value}\n"), format!("{columns}\n")];
        Ok(changes.into_iter().flatten().chain(load).collect())
    }

    /// Takes the results of the [statements](Self::of_item) for one item.
    pub(super) fn take(
        &self,
        results: &mut impl Iterator<Item = ResultSet>,
    ) -> Result<ItemResults, OriginError> {
        let mut next =
            || results.next().ok_or_else(|| OriginError::broken("a statement has no result"));
        let changes = match self.contract.changes_at {
            Some(_) => Some((next()?, next()?)),
            None => None,
        };
        Ok(ItemResults { changes, value: next()?, columns: next()? })
    }

    fn next_change(&self, item: &ItemResults) -> Result<Option<TimedChange>, OriginError> {
        let Some((clock, changes)) = &item.changes else { return Ok(None) };
        let now = clock.rows.first().and_then(|row| text(row.first()?)).unwrap_or_default();
        let now = ClockTime::parse_seconds(&now)
            .ok_or_else(|| OriginError::broken(format!("the database's clock shows {now:?}")))?;
        let texts = changes.rows.iter().flatten().filter_map(text);
        next_change(&self.contract, texts, (now, now))
    }

    /// Returns the value that the results of the statements contain.
    pub(super) fn read(
        &self,
        item: &Item<'_>,
        results: ItemResults,
        LoadSource { seen, log, replayed }: LoadSource,
    ) -> Result<Loaded, OriginError> {
        let contract = &self.contract;
        let change = self.next_change(&results)?;
        let ItemResults { value, columns, .. } = results;
        if value.rows.len() > 1 {
            return Err(more_than_one_row(contract));
        }
        let content = match value.rows.first() {
            Some(row) => {
                let body = Bytes::from(json_object(contract, &value.columns, row)?);
                Content::Present(Value { head: Bytes::new(), body })
            }
            None => Content::Absent,
        };
        let cell = |value: SqlValue| text(&value).map_or(Cell::Null, Cell::Text);
        // The item's columns themselves, which come last, have no name.
        let row = |row: Vec<SqlValue>| {
            contract.load_columns().into_iter().zip(row.into_iter().map(cell)).collect()
        };
        let rows: Vec<Row> = columns.rows.into_iter().map(row).collect();
        let loaded = loaded_rows(contract, item, content, &rows, seen)?;
        Ok(Loaded { log, replayed, change, ..loaded })
    }
}

/// Checks that the statement of `changes_at` returns numbers, also where it returns no row.
fn check_times(contract: &Contract, found: Option<ResultSet>) -> Result<(), OriginError> {
    use mysql_async::consts::ColumnType::*;
    let columns = found.map(|found| found.columns).unwrap_or_default();
    let is_time = |kind| {
        matches!(
            kind,
            MYSQL_TYPE_TIMESTAMP
                | MYSQL_TYPE_TIMESTAMP2
                | MYSQL_TYPE_DATETIME
                | MYSQL_TYPE_DATETIME2
                | MYSQL_TYPE_DATE
                | MYSQL_TYPE_NEWDATE
                | MYSQL_TYPE_TIME
                | MYSQL_TYPE_TIME2
        )
    };
    match columns.iter().find(|column| is_time(column.column_type())) {
        Some(column) => Err(not_a_time(contract, &column.name_str())),
        None => Ok(()),
    }
}
