//! MariaDB's own SQL notation.

/// Returns a name as an SQL identifier.
pub(super) fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// Returns a text as an SQL literal that is safe for every text and every `sql_mode`.
pub(super) fn literal(text: &str) -> String {
    let digits = text.bytes().fold(String::new(), |digits, byte| digits + &format!("{byte:02x}"));
    format!("_utf8mb4 x'{digits}'")
}
