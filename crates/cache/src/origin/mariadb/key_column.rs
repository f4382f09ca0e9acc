//! The key column of a contract, as the table has it now: `alter table` may change its type while nodes run.

use contract::{Contract, Item, MatchedColumns, Origin, TableColumn, split_table_name};
use database::quoting::{mariadb_identifier, mariadb_literal};
use mysql_async::{Column, Value as SqlValue};
use parking_lot::RwLock;

use super::key::{KeyShape, KeyType};
use super::pool::MariaDbPool;
use super::value::text;
use crate::origin::error::{OriginError, OriginErrorKind};
use crate::origin::sql::{no_such_table, other_type};

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
    pub(super) fn written_table(&self) -> &str {
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

    /// Returns the names of the table's columns.
    ///
    /// # Errors
    /// The database can't be reached.
    async fn names_of_columns(&self, pool: &MariaDbPool) -> Result<Vec<String>, OriginError> {
        let sql = format!(
            "select column_name from information_schema.columns \
             where binary table_schema = {} and binary table_name = {}",
            mariadb_literal(&self.database),
            mariadb_literal(&self.table)
        );
        let rows = pool.run(&sql).await?.map(|result| result.rows).unwrap_or_default();
        Ok(rows.iter().filter_map(|row| text(row.first()?)).collect())
    }

    fn quoted_table(&self) -> String {
        format!("{}.{}", mariadb_identifier(&self.database), mariadb_identifier(&self.table))
    }
}

/// The columns of a table that an item names: the key, and those of variants.
pub(super) struct ItemColumns(Vec<KeyColumn>);

impl ItemColumns {
    /// Reads the types of a contract's columns.
    ///
    /// # Errors
    /// As [`KeyColumn::read`].
    pub(super) async fn read(
        pool: &MariaDbPool,
        contract: &str,
        from: &Origin,
    ) -> Result<Self, OriginError> {
        let mut columns = Vec::with_capacity(1 + from.variants.len());
        for name in [&from.key].into_iter().chain(&from.variants) {
            columns.push(KeyColumn::read(pool, contract, &from.table, name).await?);
        }
        Ok(Self(columns))
    }

    /// Returns the column of the key.
    pub(super) fn key(&self) -> &KeyColumn {
        &self.0[0]
    }

    /// Returns the type of the key.
    pub(super) fn key_type(&self) -> KeyType {
        self.key().key_type()
    }

    /// Returns the names of the table's columns.
    ///
    /// # Errors
    /// The database can't be reached.
    pub(super) async fn names_of_columns(
        &self,
        pool: &MariaDbPool,
    ) -> Result<Vec<String>, OriginError> {
        self.key().names_of_columns(pool).await
    }

    /// Reads the types again.
    ///
    /// # Errors
    /// As [`KeyColumn::read`].
    pub(super) async fn refresh(&self, pool: &MariaDbPool) -> Result<(), OriginError> {
        for column in &self.0 {
            column.refresh(pool).await?;
        }
        Ok(())
    }

    /// Returns the SQL literals of an item's values, by the present types. `Err` has the value that the database writes in
    /// another way.
    pub(super) fn literals<'i>(&self, item: &'i Item<'_>) -> Result<Vec<String>, &'i str> {
        let variants = item.variants.iter().map(|(_, value)| value.as_str());
        let values = [&*item.id].into_iter().chain(variants);
        let literal = |(column, value): (&KeyColumn, &'i str)| {
            let key_type = column.key_type();
            if key_type.writes(value) { Ok(key_type.literal(value)) } else { Err(value) }
        };
        self.0.iter().zip(values).map(literal).collect()
    }

    /// Returns the statement that selects `columns` of at most `limit` rows by the item's values as `$1`, `$2`, …, and the
    /// item's columns themselves, which come last: their shapes show whether the types still apply.
    pub(super) fn select(&self, columns: &[&str], limit: usize) -> String {
        let text = |column: &&str| {
            format!("cast({} as char character set utf8mb4)", mariadb_identifier(column))
        };
        let texts: Vec<String> = columns.iter().map(text).collect();
        let names: Vec<String> =
            self.0.iter().map(|column| mariadb_identifier(&column.name)).collect();
        let conditions: Vec<String> =
            (1..).zip(&names).map(|(number, name)| format!("{name} = ${number}")).collect();
        format!(
            "select {}, {} from {} where {} limit {limit}",
            texts.join(", "),
            names.join(", "),
            self.key().quoted_table(),
            conditions.join(" and ")
        )
    }

    /// Returns the statement that selects the first `limit` keys after `after` in the order of the index.
    pub(super) fn page(&self, after: Option<&str>, limit: usize) -> String {
        let (table, key) = (self.key().quoted_table(), mariadb_identifier(&self.key().name));
        let key_type = self.key_type();
        let order = key_type.order(&key);
        let after = match after {
            Some(id) => format!("> {}", key_type.order_literal(id)),
            None => "is not null".to_owned(),
        };
        format!("select {key} from {table} where {order} {after} order by {order} limit {limit}")
    }

    /// Whether a result of [`select`](Self::select), or of [`page`](Self::page) where there are no variants, is of the types
    /// that were read last.
    pub(super) fn applies_to(&self, columns: &[Column]) -> bool {
        let first = columns.len().checked_sub(self.0.len());
        let shapes = first.map(|first| columns[first..].iter().map(KeyShape::of));
        let current = self.0.iter().map(|column| column.current.read().1);
        shapes.is_some_and(|shapes| shapes.eq(current))
    }
}

/// Checks that the columns by which rows of joined tables name entries have the texts of those that they are matched
/// with.
pub(super) async fn check_joined(
    pool: &MariaDbPool,
    contract: &Contract,
) -> Result<(), OriginError> {
    let read = async |TableColumn { table, column }: TableColumn<'_>| {
        KeyColumn::read(pool, &contract.name, table, column).await
    };
    for MatchedColumns { own, joined } in contract.matched_columns() {
        let kind = read(joined).await?.key_type();
        let Some(own) = own else { continue };
        if !read(own).await?.key_type().has_texts_of(&kind) {
            return Err(other_type(contract, own, joined));
        }
    }
    Ok(())
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
