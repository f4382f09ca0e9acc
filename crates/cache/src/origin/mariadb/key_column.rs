//! The key column of a contract, as the table has it now: `alter table` may change its type while nodes run.

use contract::split_table_name;
use database::quoting::{mariadb_identifier, mariadb_literal};
use mysql_async::{Column, Value as SqlValue};
use parking_lot::RwLock;

use super::key::{KeyShape, KeyType};
use super::pool::MariaDbPool;
use super::value::text;
use crate::origin::error::{OriginError, OriginErrorKind};
use crate::origin::sql::no_such_table;

/// A table's key column.
pub(super) struct KeyColumn {
    contract: String,
    /// The contract's name of the table.
    written_table: String,
    database: String,
    table: String,
    name: String,
    /// The type, and the shape that results have as long as it applies.
    current: RwLock<(KeyType, KeyShape)>,
}

impl KeyColumn {
    /// Reads the type from the catalogue. `table`: the contract's name of it; without a database it is in the pool's.
    ///
    /// # Errors
    /// The database can't be reached, there is no such column, or equal values of its type can be written in
    /// several ways.
    pub(super) async fn read(
        pool: &MariaDbPool,
        contract: &str,
        table: &str,
        name: &str,
    ) -> Result<Self, OriginError> {
        let written_table = table.to_owned();
        let (database, table) = split_table_name(table);
        let database = database.as_deref().unwrap_or(pool.database());
        let current = read_type(pool, contract, [database, &table, name]).await?;
        let [contract, database, table, name] =
            [contract, database, &table, name].map(str::to_owned);
        let current = RwLock::new(current);
        Ok(Self { contract, written_table, database, table, name, current })
    }

    /// Returns the contract's name of the table.
    pub(super) fn table(&self) -> &str {
        &self.written_table
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn key_type(&self) -> KeyType {
        self.current.read().0.clone()
    }

    /// Reads the type again.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub(super) async fn refresh(&self, pool: &MariaDbPool) -> Result<(), OriginError> {
        let names = [&self.database, &self.table, &self.name].map(String::as_str);
        let current = read_type(pool, &self.contract, names).await?;
        *self.current.write() = current;
        Ok(())
    }

    /// Returns the statement that selects `columns` by the key as `$1`, and the key column itself, which comes
    /// last: its shape shows whether the type still applies.
    pub(super) fn select(&self, columns: &[&str]) -> String {
        let text = |column: &&str| {
            format!("cast({} as char character set utf8mb4)", mariadb_identifier(column))
        };
        let texts: Vec<String> = columns.iter().map(text).collect();
        let (table, key) = (self.quoted_table(), mariadb_identifier(&self.name));
        format!("select {}, {key} from {table} where {key} = $1 limit 1", texts.join(", "))
    }

    /// Returns the statement that selects the first `limit` keys after `after` in the order of the index.
    pub(super) fn page(&self, after: Option<&str>, limit: usize) -> String {
        let (table, key) = (self.quoted_table(), mariadb_identifier(&self.name));
        let key_type = self.key_type();
        let order = key_type.order(&key);
        let after = match after {
            Some(id) => format!("> {}", key_type.order_literal(id)),
            None => "is not null".to_owned(),
        };
        format!("select {key} from {table} where {order} {after} order by {order} limit {limit}")
    }

    fn quoted_table(&self) -> String {
        format!("{}.{}", mariadb_identifier(&self.database), mariadb_identifier(&self.table))
    }

    /// Whether a result of [`select`](Self::select) or [`page`](Self::page) is of the type that was read last.
    pub(super) fn applies_to(&self, columns: &[Column]) -> bool {
        columns.last().map(KeyShape::of) == Some(self.current.read().1)
    }
}

async fn read_type(
    pool: &MariaDbPool,
    contract: &str,
    [database, table, name]: [&str; 3],
) -> Result<(KeyType, KeyShape), OriginError> {
    let missing = || no_such_table(contract, table, name);
    let catalogue = format!(
        "select column_type, coalesce(collation_name, '') from information_schema.columns \
         where binary table_schema = {} and binary table_name = {} and column_name = {}",
        mariadb_literal(database),
        mariadb_literal(table),
        mariadb_literal(name)
    );
    // The shape comes before the type: if the column is altered in between, the next result has another one.
    let [key, in_database, in_table] = [name, database, table].map(mariadb_identifier);
    let shape = format!("select {key} from {in_database}.{in_table} limit 0");
    let shape = match pool.run(&shape).await {
        Ok(result) => result.and_then(|result| result.columns.last().map(KeyShape::of)),
        // Such as an unknown table or column: the catalogue decides.
        Err(err) if err.kind == OriginErrorKind::Broken => None,
        Err(err) => return Err(err),
    };
    let found = pool.run(&catalogue).await?;
    let row = found.and_then(|result| result.rows.into_iter().next());
    let row = row.and_then(|row| <[SqlValue; 2]>::try_from(row).ok());
    let (Some(shape), Some([kind, collation])) = (shape, row) else { return Err(missing()) };
    let (kind, collation) = (text(&kind).unwrap_or_default(), text(&collation).unwrap_or_default());
    let key_type = KeyType::of(&kind, &collation).ok_or_else(|| {
        OriginError::broken(format!(
            "contract {contract}: {table}.{name} is of type {kind} {collation}; equal values of that type \
             can be written in several ways, so one row could be stored under several keys. Use a key \
             column that is an integer (not zerofill), an enum without backslashes, or a text with a \
             binary collation such as utf8mb4_bin"
        ))
    })?;
    Ok((key_type, shape))
}
