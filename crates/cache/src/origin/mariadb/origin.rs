//! The loads of one contract.

use std::any::Any;

use async_trait::async_trait;
use bytes::Bytes;
use contract::{Cell, Contract, Item, Key, Row, SqlDialect};
use database::mariadb::ResultSet;
use database::quoting::mariadb_literal;
use mysql_async::Value as SqlValue;

use super::key_column::KeyColumn;
use super::pool::{LoadSource, MariaDbPool, Snapshot};
use super::value::{json_object, text};
use crate::entry::{Content, Value};
use crate::origin::error::{OriginError, OriginErrorKind};
use crate::origin::load::{LoadItem, Loaded, LoadedMany, Origin, load_separately};
use crate::origin::row::{absent_row, loaded_row, source};
use crate::origin::sql::{ValueStatement, check_watched, item, more_than_one_row, not_loadable};

/// How often a load is repeated because the table was altered meanwhile.
const ATTEMPTS: usize = 3;

/// Loads the values of one contract, each in one transaction.
pub struct MariaDbOrigin {
    contract: Contract,
    pool: MariaDbPool,
    dialect: SqlDialect,
    value: ValueStatement,
    columns: String,
    key: KeyColumn,
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
        let text = value;
        let value = ValueStatement::new(&contract, &text, dialect)?;
        let key = KeyColumn::read(&pool, &contract.name, &from.table, &from.key).await?;
        let columns = key.select(&contract.load_columns());
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
        check_watched(&contract, &text, dialect, &key.names_of_columns(&pool).await?)?;
        Ok(Self { contract, pool, dialect, value, columns, key })
    }

    /// Returns the two statements for one item.
    ///
    /// # Errors
    /// The database writes the id in another way, also after a look at the column's present type.
    async fn statements(&self, item: &Item<'_>) -> Result<[String; 2], OriginError> {
        let id = &*item.id;
        if !self.key.key_type().writes(id) {
            self.key.refresh(&self.pool).await?;
        }
        let key_type = self.key.key_type();
        if !key_type.writes(id) {
            return Err(OriginError::bad_request(format!(
                "{id:?} is not an id as the database writes it"
            )));
        }
        let literal = key_type.literal(id);
        // The line break ends a comment at the end of the contract's statement.
        let values = self.value.values(item);
        let value = self.value.sql(|number| match number.checked_sub(1) {
            None => literal.clone(),
            Some(variant) => mariadb_literal(values[variant]),
        });
        let columns =
            contract::replace_parameters(&self.columns, self.dialect, |_| literal.clone());
        Ok([format!("{value}\n"), format!("{columns}\n")])
    }

    fn read(
        &self,
        id: &str,
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
        let names = contract.load_columns().into_iter();
        let columns = match columns.rows.into_iter().next() {
            Some(row) => {
                let cell = |value: SqlValue| text(&value).map_or(Cell::Null, Cell::Text);
                // The key column itself, which comes last, has no name.
                names.zip(row).map(|(name, value)| (name, cell(value))).collect::<Row>()
            }
            None => absent_row(contract, id),
        };
        let loaded = loaded_row(contract, id, content, &columns, seen)?;
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
                return self.read(&item.id, value, columns, source);
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
            loaded.push(origin.read(&item.id, value, columns, source));
        }
        Ok(LoadedMany { items: loaded, one_snapshot: true })
    }
}

fn next_result(results: &mut impl Iterator<Item = ResultSet>) -> Result<ResultSet, OriginError> {
    results.next().ok_or_else(|| OriginError::broken("a statement has no result"))
}
