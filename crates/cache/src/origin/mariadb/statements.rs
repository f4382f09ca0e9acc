//! The statements of one contract, and the values that their results contain.

use bytes::Bytes;
use contract::{Cell, Contract, Item, Row, SqlDialect};
use database::mariadb::ResultSet;
use database::quoting::mariadb_literal;
use mysql_async::Value as SqlValue;

use super::key_column::KeyColumn;
use super::pool::{LoadSource, MariaDbPool};
use super::value::{json_object, text};
use crate::entry::{Content, Value};
use crate::origin::error::{OriginError, OriginErrorKind};
use crate::origin::load::Loaded;
use crate::origin::row::{absent_row, loaded_row};
use crate::origin::sql::{ValueStatement, more_than_one_row, not_loadable};

/// A contract as SQL of its database.
pub(super) struct ContractStatements {
    pub(super) contract: Contract,
    pub(super) dialect: SqlDialect,
    pub(super) key: KeyColumn,
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
        let (Some(value), Some(from)) = (contract.value.clone(), contract.from.clone()) else {
            return Err(not_loadable(&contract));
        };
        let dialect = SqlDialect::mariadb(&pool.sql_mode().await?);
        let value = ValueStatement::new(&contract, &value, dialect)?;
        let key = KeyColumn::read(pool, &contract.name, &from.table, &from.key).await?;
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
        Ok(Self { contract, dialect, key, value, columns })
    }

    /// Returns the two statements for one item.
    ///
    /// # Errors
    /// The database writes the id in another way, also after a look at the column's present type.
    pub(super) async fn of_item(
        &self,
        item: &Item<'_>,
        pool: &MariaDbPool,
    ) -> Result<[String; 2], OriginError> {
        let id = &*item.id;
        if !self.key.key_type().writes(id) {
            self.key.refresh(pool).await?;
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

    /// Returns the value that the results of the two statements contain.
    pub(super) fn read(
        &self,
        id: &str,
        value: ResultSet,
        columns: ResultSet,
        LoadSource { seen, log, replayed }: LoadSource,
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
        Ok(Loaded { log, replayed, ..loaded })
    }
}
