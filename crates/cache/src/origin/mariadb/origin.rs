//! The loads of one contract.

use std::any::Any;

use async_trait::async_trait;
use bytes::Bytes;
use coherence::Lsn;
use contract::{Cell, Contract, Key, Row};
use database::mariadb::ResultSet;
use database::quoting::{mariadb_identifier, mariadb_literal};
use mysql_async::Value as SqlValue;

use super::key::KeyType;
use super::pool::MariaDbPool;
use super::value::{json_object, text};
use crate::entry::{Content, Value};
use crate::origin::error::{OriginError, OriginErrorKind};
use crate::origin::load::{LoadItem, Loaded, LoadedMany, Origin, load_separately};
use crate::origin::row::{absent_row, loaded_row, source};
use crate::origin::sql::{more_than_one_row, no_such_table, not_loadable, numbered_statement};

/// Loads the values of one contract, each in one transaction.
pub struct MariaDbOrigin {
    contract: Contract,
    pool: MariaDbPool,
    value: String,
    columns: String,
    key: KeyType,
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
        let value = numbered_statement(&contract, &value)?;
        let (database, table) = contract::split_table_name(&from.table);
        let database = database.as_deref().unwrap_or(pool.database()).to_owned();
        let as_text = |column: &str| {
            format!("cast({} as char character set utf8mb4)", mariadb_identifier(column))
        };
        let columns: Vec<String> = contract.load_columns().into_iter().map(as_text).collect();
        let columns = format!(
            "select {} from {}.{} where {} = $1 limit 1",
            columns.join(", "),
            mariadb_identifier(&database),
            mariadb_identifier(&table),
            mariadb_identifier(&from.key)
        );
        let columns_sql = format!(
            "select column_type, coalesce(collation_name, '') from information_schema.columns \
             where binary table_schema = {} and binary table_name = {} and binary column_name = {}",
            mariadb_literal(&database),
            mariadb_literal(&table),
            mariadb_literal(&from.key)
        );
        let found = pool.run(&columns_sql).await?;
        let row = found.and_then(|result| result.rows.into_iter().next());
        let Some([kind, collation]) = row.and_then(|row| <[SqlValue; 2]>::try_from(row).ok())
        else {
            return Err(no_such_table(&contract.name, &from.table, &from.key));
        };
        let (kind, collation) =
            (text(&kind).unwrap_or_default(), text(&collation).unwrap_or_default());
        let key = KeyType::of(&kind, &collation).ok_or_else(|| {
            OriginError::broken(format!(
                "contract {}: {}.{} is of type {kind} {collation}; equal values of that type can be \
                 written in several ways, so one row could be stored under several keys. Use a key column \
                 that is an integer (not zerofill), or a text with a binary collation such as \
                 utf8mb4_bin",
                contract.name, from.table, from.key,
            ))
        })?;
        // The server refuses a text with more than one statement as a whole.
        let probe = contract::inline_parameters(
            &value,
            &key.literal(if key == KeyType::Text { "" } else { "1" }),
        );
        pool.parse_statement(&probe).await.map_err(|err| match err.kind {
            OriginErrorKind::Unavailable | OriginErrorKind::Timeout => err,
            _ => OriginError::broken(format!(
                "contract {}: its `value` is refused by the database: {}",
                contract.name, err.message
            )),
        })?;
        Ok(Self { contract, pool, value, columns, key })
    }

    /// Returns the two statements for one id.
    ///
    /// # Errors
    /// The database writes the id in another way.
    fn statements(&self, id: &str) -> Result<[String; 2], OriginError> {
        if !self.key.writes(id) {
            return Err(OriginError::bad_request(format!(
                "{id:?} is not an id as the database writes it"
            )));
        }
        let literal = self.key.literal(id);
        // The line break ends a comment at the end of the contract's statement.
        let fill = |sql: &str| format!("{}\n", contract::inline_parameters(sql, &literal));
        Ok([fill(&self.value), fill(&self.columns)])
    }

    fn read(
        &self,
        id: &str,
        value: ResultSet,
        columns: ResultSet,
        seen: Option<Lsn>,
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
                names.zip(row).map(|(name, value)| (name, cell(value))).collect::<Row>()
            }
            None => absent_row(contract, id),
        };
        loaded_row(contract, id, content, &columns, seen)
    }
}

#[async_trait]
impl Origin for MariaDbOrigin {
    fn name(&self) -> &str {
        source(&self.contract)
    }

    async fn load(&self, _key: &Key, id: &str) -> Result<Loaded, OriginError> {
        let statements = self.statements(id)?;
        let (found, seen) = self.pool.snapshot(&statements).await?;
        let mut found = found.into_iter();
        self.read(id, next_result(&mut found)?, next_result(&mut found)?, seen)
    }

    /// One transaction. If the server rejects one of its statements, the items are loaded separately, since
    /// the later statements were not run.
    async fn load_many(&self, items: &[LoadItem<'_>]) -> Result<LoadedMany, OriginError> {
        let same_pool = items.iter().map(|item| {
            let origin: &dyn Any = item.origin;
            let origin = origin.downcast_ref::<Self>();
            origin.filter(|other| other.pool.is_same(&self.pool))
        });
        let Some(origins) = same_pool.collect::<Option<Vec<_>>>() else {
            return Ok(load_separately(items).await);
        };
        let prepared: Vec<_> =
            items.iter().zip(&origins).map(|(item, origin)| origin.statements(item.id)).collect();
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
        let (found, seen) = match self.pool.snapshot(&statements).await {
            Ok(snapshot) => snapshot,
            Err(err)
                if matches!(err.kind, OriginErrorKind::Broken | OriginErrorKind::BadRequest) =>
            {
                return Ok(load_separately(items).await);
            }
            Err(err) => return Err(err),
        };
        let mut found = found.into_iter();
        let items = items.iter().zip(origins).zip(prepared).map(|((item, origin), prepared)| {
            prepared?;
            origin.read(item.id, next_result(&mut found)?, next_result(&mut found)?, seen)
        });
        Ok(LoadedMany { items: items.collect(), one_snapshot: true })
    }
}

fn next_result(results: &mut impl Iterator<Item = ResultSet>) -> Result<ResultSet, OriginError> {
    results.next().ok_or_else(|| OriginError::broken("a statement has no result"))
}
