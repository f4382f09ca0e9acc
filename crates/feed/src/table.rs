//! Tables that a feed follows.

use std::fmt;

use contract::{split_table_name, table_name};
use database::quoting;

/// A table that contracts refer to, and the columns that they need.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TrackedTable {
    /// `schema.table`, or a bare name for `public` (MariaDB: for the URL's database; SQLite: always
    /// bare).
    pub table: String,
    /// The columns that rows are delivered with, each once.
    pub columns: Vec<String>,
    /// The columns that keys are made from. Where updates do not log their old value, the entry under the old
    /// key would stay.
    pub key_columns: Vec<String>,
    /// The columns whose value *before* a change is needed too: ids, and the columns of tags.
    pub old_columns: Vec<String>,
    /// Whether an update counts whichever columns it changes.
    pub every_column: bool,
}

/// A table's name in two parts.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TableName {
    /// The schema (MariaDB: the database).
    pub schema: String,
    /// The table.
    pub table: String,
}

impl TableName {
    /// Parses `schema.table`, or a bare name in the schema `public`. The names are as in the
    /// catalogue: case-sensitive, and quoted only if they contain a dot.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self::parse_in(text, "public")
    }

    /// Parses `schema.table`, or a bare name in `schema`.
    pub(crate) fn parse_in(text: &str, schema: &str) -> Self {
        let (named, table) = split_table_name(text);
        Self { schema: named.as_deref().unwrap_or(schema).to_owned(), table: table.into_owned() }
    }

    /// Returns the quoted name for SQL on PostgreSQL and SQLite.
    #[must_use]
    pub fn quoted(&self) -> String {
        format!("{}.{}", quoting::identifier(&self.schema), quoting::identifier(&self.table))
    }

    /// Returns the quoted name for SQL on MariaDB.
    pub(crate) fn mariadb_quoted(&self) -> String {
        let (schema, table) = (&self.schema, &self.table);
        format!("{}.{}", quoting::mariadb_identifier(schema), quoting::mariadb_identifier(table))
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&table_name(Some(&self.schema), &self.table))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bare_name_in_default_schema() {
        assert_eq!(TableName::parse("products").quoted(), r#""public"."products""#);
        assert_eq!(TableName::parse(r#"my."x"#).quoted(), r#""my"."""x""#);
        assert_eq!(TableName::parse("shop.products").to_string(), "shop.products");
        let dotted = TableName::parse(r#""daily.prices""#);
        assert_eq!(dotted.quoted(), r#""public"."daily.prices""#);
        assert_eq!(dotted.to_string(), r#"public."daily.prices""#);
        assert_eq!(TableName::parse_in("products", "shop").mariadb_quoted(), "`shop`.`products`");
    }
}
