//! The loads of one contract.

use std::any::Any;

use async_trait::async_trait;
use bytes::Bytes;
use contract::{Cell, Contract, Item, Key, Row, SqlDialect};
use database::mariadb::ResultSet;
use database::quoting::mariadb_literal;
use mysql_async::Value as SqlValue;

use super::key_column::{ItemColumns, check_joined};
use super::pool::{LoadSource, MariaDbPool, Snapshot};
use super::value::{json_object, text};
use crate::entry::{Content, Value};
use crate::origin::error::{OriginError, OriginErrorKind};
use crate::origin::load::{LoadItem, Loaded, LoadedMany, Origin, load_separately};
use crate::origin::row::{loaded_rows, row_limit, source};
use crate::origin::sql::{ValueStatement, item, more_than_one_row, not_loadable};

/// How often a load is repeated because the table was altered meanwhile.
const ATTEMPTS: usize = 3;

/// Loads the values of one contract, each in one transaction.
pub struct MariaDbOrigin {
    contract: Contract,
    pool: MariaDbPool,
    dialect: SqlDialect,
    value: ValueStatement,
    columns: String,
    key: ItemColumns,
}

impl MariaDbOrigin {
    /// Reads the key column's type from the catalogue and builds the statements.
    ///
    /// # Errors
    /// The database can't be reached, or the contract does not fit it: no such table or column, or a key
    /// column whose values can be written in several ways.
    pub async fn prepare(contract: Contract, pool: MariaDbPool) -> Result<Self, OriginError> {
        let (Some(value), Some(from)) = (contract.value.clone(), contract.from.clone()) else {
            return Err(not_loadable(&contract));
        };
        let dialect = SqlDialect::mariadb(&pool.sql_mode().await?);
        let value = ValueStatement::new(&contract, &value, dialect)?;
        let key = ItemColumns::read(&pool, &contract.name, &from).await?;
        check_joined(&pool, &contract).await?;
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
        Ok(Self { contract, pool, dialect, value, columns, key })
    }

    /// Returns the two statements for one item.
    ///
    /// # Errors
    /// The database writes the id in another way, also after a look at the column's present type.
    async fn statements(&self, item: &Item<'_>) -> Result<[String; 2], OriginError> {
        let mut literals = self.key.literals(item);
        if literals.is_err() {
            self.key.refresh(&self.pool).await?;
            literals = self.key.literals(item);
        }
        let literals = literals.map_err(|value| {
            let of = if value == item.id { "an id" } else { "a variant" };
            OriginError::bad_request(format!("{value:?} is not {of} as the database writes it"))
        })?;
        // The line break ends a comment at the end of the contract's statement.
        let values = self.value.values(item);
        let value = self.value.sql(|number| match number.checked_sub(1) {
            None => literals[0].clone(),
            Some(variant) => mariadb_literal(values[variant]),
        });
        let columns = contract::replace_parameters(&self.columns, self.dialect, |number| {
            let number = number.parse::<usize>().unwrap_or_default();
            literals.get(number.wrapping_sub(1)).cloned().unwrap_or_default()
        });
        Ok([format!("{value}\n"), format!("{columns}\n")])
    }

    fn read(
        &self,
        item: &Item<'_>,
        value: ResultSet,
        columns: ResultSet,
        LoadSource { seen, log }: LoadSource,
    ) -> Result<Loaded, OriginError> {
        let contract = &self.contract;
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
        Ok(Loaded { log: Some(log), ..loaded })
    }
}

#[async_trait]
impl Origin for MariaDbOrigin {
    fn name(&self) -> &str {
        source(&self.contract)
    }

    async fn load(&self, _key: &Key, id: &str) -> Result<Loaded, OriginError> {
        let item = item(&self.contract, id)?;
        for _ in 0..ATTEMPTS {
            let statements = self.statements(&item).await?;
            let Snapshot { results, source } = self.pool.snapshot(&statements).await?;
            let mut found = results.into_iter();
            let (value, columns) = (next_result(&mut found)?, next_result(&mut found)?);
            if self.key.applies_to(&columns.columns) {
                return self.read(&item, value, columns, source);
            }
            self.key.refresh(&self.pool).await?;
        }
        Err(OriginError::unavailable("the table is being altered"))
    }

    /// One transaction. If the server rejects one of its statements, or a key column was altered, the items are
    /// loaded separately.
    async fn load_many(&self, items: &[LoadItem<'_>]) -> Result<LoadedMany, OriginError> {
        let same_pool = items.iter().map(|item| {
            let origin: &dyn Any = item.origin;
            let origin = origin.downcast_ref::<Self>();
            origin.filter(|other| other.pool.is_same(&self.pool))
        });
        let Some(origins) = same_pool.collect::<Option<Vec<_>>>() else {
            return Ok(load_separately(items).await);
        };
        let named =
            origins.iter().zip(items).map(|(origin, named)| item(&origin.contract, named.id));
        let Ok(named) = named.collect::<Result<Vec<_>, _>>() else {
            return Ok(load_separately(items).await);
        };
        let mut prepared = Vec::with_capacity(items.len());
        for (item, origin) in named.iter().zip(&origins) {
            prepared.push(origin.statements(item).await);
        }
        let statements: Vec<String> = prepared
            .iter()
            .filter_map(|prepared| prepared.as_ref().ok())
            .flatten()
            .cloned()
            .collect();
        if statements.is_empty() {
            let items = prepared.into_iter().filter_map(Result::err).map(Err).collect();
            return Ok(LoadedMany { items, one_snapshot: true });
        }
        let Snapshot { results, source } = match self.pool.snapshot(&statements).await {
            Ok(snapshot) => snapshot,
            Err(err)
                if matches!(err.kind, OriginErrorKind::Broken | OriginErrorKind::BadRequest) =>
            {
                // The later statements were not run.
                return Ok(load_separately(items).await);
            }
            Err(err) => return Err(err),
        };
        let mut found = results.into_iter();
        let mut loaded = Vec::with_capacity(items.len());
        for ((item, origin), prepared) in named.iter().zip(origins).zip(prepared) {
            if let Err(err) = prepared {
                loaded.push(Err(err));
                continue;
            }
            let (value, columns) = (next_result(&mut found)?, next_result(&mut found)?);
            if !origin.key.applies_to(&columns.columns) {
                return Ok(load_separately(items).await);
            }
            loaded.push(origin.read(item, value, columns, source));
        }
        Ok(LoadedMany { items: loaded, one_snapshot: true })
    }
}

fn next_result(results: &mut impl Iterator<Item = ResultSet>) -> Result<ResultSet, OriginError> {
    results.next().ok_or_else(|| OriginError::broken("a statement has no result"))
}
