//! Which tables a feed follows.

use std::fmt;

/// A table that contracts refer to, and what they need to know of its rows.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tracked {
    /// `schema.table`, or bare for `public` (SQLite: always bare).
    pub table: String,
    /// The columns that rows are delivered with, each once.
    pub columns: Vec<String>,
    /// Those whose value *before* a change is needed too: ids, and what tags are made from.
    pub old_columns: Vec<String>,
}

/// A table's name in two parts.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TableName {
    /// The schema.
    pub schema: String,
    /// The table.
    pub table: String,
}

impl TableName {
    /// Reads `schema.table`, or a bare name, which means the schema `public`. The names are as in
    /// the catalogue: case counts, nothing is quoted.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let (schema, table) = text.split_once('.').unwrap_or(("public", text));
        Self { schema: schema.to_owned(), table: table.to_owned() }
    }

    /// For SQL.
    #[must_use]
    pub fn quoted(&self) -> String {
        format!("{}.{}", quote_name(&self.schema), quote_name(&self.table))
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.table)
    }
}

/// An SQL identifier, safe whatever is in it.
pub(crate) fn quote_name(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// An SQL string, safe whatever is in it (with `standard_conforming_strings`, the default).
pub(crate) fn quote_text(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_name_is_public() {
        assert_eq!(TableName::parse("products").quoted(), r#""public"."products""#);
        assert_eq!(TableName::parse(r#"my."x"#).quoted(), r#""my"."""x""#);
        assert_eq!(TableName::parse("shop.products").to_string(), "shop.products");
        assert_eq!(quote_text("it's"), "'it''s'");
    }
}
