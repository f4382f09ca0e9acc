//! SQL identifiers and literals, safe for any content.

/// Quotes an identifier for PostgreSQL and SQLite.
#[must_use]
pub fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Quotes a text for SQLite, and for PostgreSQL with `standard_conforming_strings` (the default).
#[must_use]
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Quotes an identifier for MariaDB.
#[must_use]
pub fn mariadb_identifier(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// Quotes a text for MariaDB, with any `sql_mode`.
#[must_use]
pub fn mariadb_literal(text: &str) -> String {
    let digits = text.bytes().fold(String::new(), |digits, byte| digits + &format!("{byte:02x}"));
    format!("_utf8mb4 x'{digits}'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_in_names_and_texts_escaped() {
        assert_eq!(identifier(r#"a"b"#), r#""a""b""#);
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(mariadb_identifier("a`b"), "`a``b`");
        assert_eq!(mariadb_literal("it's"), "_utf8mb4 x'69742773'");
    }
}
