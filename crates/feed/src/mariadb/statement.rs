//! Effects of statements in the log.
//!
//! With `binlog_format=ROW` a server logs the statements that define objects, and those that begin
//! and end groups. A session may select another format, though; then the changes of its statements,
//! made directly or through triggers and functions, are unknown.

use crate::table::TableName;

/// The effect of a statement on the tracked tables.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum StatementEffect<'a> {
    /// None.
    None,
    /// It ends its group.
    EndsGroup,
    /// It names the XA transaction to be prepared.
    NamesXa(&'a str),
    /// It commits the XA transaction of this name.
    CommitsXa(&'a str),
    /// It rolls back the XA transaction of this name.
    RollsBackXa(&'a str),
    /// It truncates the table with this index.
    Truncates(usize),
    /// It alters, or may alter, the table with this index.
    Alters(usize),
    /// Its changes are unknown.
    Unknown,
}

/// Returns the effect of a statement. `tables`: the tracked tables. `database`: the session's
/// database.
pub(super) fn effect_of<'a>(
    text: &'a str,
    database: &str,
    tables: &[TableName],
) -> StatementEffect<'a> {
    let text = without_comments(text);
    let mut words = text.split(|c: char| !is_word(c)).filter(|word| !word.is_empty());
    let mut next = || words.next().unwrap_or_default().to_ascii_uppercase();
    let (first, second) = (next(), next());
    // `XA COMMIT X'61',X'',1`
    let name = || text.splitn(3, char::is_whitespace).nth(2).unwrap_or_default().trim();
    match (first.as_str(), second.as_str()) {
        ("COMMIT", _) => StatementEffect::EndsGroup,
        // It rolls back a part of a transaction; if the log contains those changes, they are delivered.
        ("ROLLBACK", "TO") => StatementEffect::None,
        ("ROLLBACK", _) => StatementEffect::EndsGroup,
        ("XA", "START" | "BEGIN" | "END") => StatementEffect::NamesXa(name()),
        ("XA", "COMMIT") => StatementEffect::CommitsXa(name()),
        ("XA", "ROLLBACK") => StatementEffect::RollsBackXa(name()),
        ("BEGIN" | "SAVEPOINT" | "RELEASE", _) => StatementEffect::None,
        ("SET", "STATEMENT") => StatementEffect::Unknown,
        ("CREATE", _) if is_table_from_query(text) => StatementEffect::Unknown,
        ("DROP", "DATABASE" | "SCHEMA") => {
            let dropped = tables.iter().position(|table| contains_name(text, &table.schema));
            dropped.map_or(StatementEffect::None, StatementEffect::Alters)
        }
        ("TRUNCATE", _) => table_in(text, database, tables)
            .map_or(StatementEffect::None, StatementEffect::Truncates),
        ("CREATE" | "ALTER" | "DROP" | "RENAME", _) => {
            table_in(text, database, tables).map_or(StatementEffect::None, StatementEffect::Alters)
        }
        (
            "ANALYZE" | "CHECK" | "FLUSH" | "GRANT" | "INSTALL" | "OPTIMIZE" | "REPAIR" | "REVOKE"
            | "SET" | "UNINSTALL",
            _,
        ) => StatementEffect::None,
        _ => StatementEffect::Unknown,
    }
}

/// Returns the first table that the text names.
fn table_in(text: &str, database: &str, tables: &[TableName]) -> Option<usize> {
    tables.iter().position(|TableName { schema, table }| {
        let in_schema = schema.eq_ignore_ascii_case(database) || contains_name(text, schema);
        in_schema && contains_name(text, table)
    })
}

/// Whether it is `create table … select …`, which runs a query that may call any function.
fn is_table_from_query(text: &str) -> bool {
    let mut words = text.split(|c: char| !is_word(c)).filter(|word| !word.is_empty());
    let is = |word: &str, name: &str| word.eq_ignore_ascii_case(name);
    let others = ["VIEW", "TRIGGER", "PROCEDURE", "FUNCTION", "PACKAGE", "EVENT"];
    let kind = words.find(|word| is(word, "TABLE") || others.iter().any(|other| is(word, other)));
    kind.is_some_and(|word| is(word, "TABLE")) && words.any(|word| is(word, "SELECT"))
}

/// Whether the text contains the name as a word, in any case.
fn contains_name(text: &str, name: &str) -> bool {
    let (text, name) = (text.to_lowercase(), name.to_lowercase());
    text.match_indices(&name).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + name.len()..].chars().next();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

/// Removes comments and opening brackets from the start.
fn without_comments(text: &str) -> &str {
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '(' || c == ';');
        let after = match rest {
            // The server runs the content of these comments.
            _ if rest.starts_with("/*!") || rest.starts_with("/*M!") => {
                let inside = rest.trim_start_matches(['/', '*', 'M', '!']);
                inside.trim_start_matches(|c: char| c.is_ascii_digit())
            }
            _ if rest.starts_with("/*") => rest.split_once("*/").map_or("", |(_, after)| after),
            _ if rest.starts_with("--") || rest.starts_with('#') => {
                rest.split_once('\n').map_or("", |(_, after)| after)
            }
            _ => return rest,
        };
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn effect(text: &str) -> StatementEffect<'_> {
        let tables =
            ["products", "Stock", "crm.people"].map(|name| TableName::parse_in(name, "shop"));
        effect_of(text, "shop", &tables)
    }

    #[test]
    fn transaction_statements() {
        assert_eq!(effect("COMMIT"), StatementEffect::EndsGroup);
        assert_eq!(effect("ROLLBACK"), StatementEffect::EndsGroup);
        assert_eq!(effect("ROLLBACK TO `s`"), StatementEffect::None);
        assert_eq!(effect("SAVEPOINT `s`"), StatementEffect::None);
        assert_eq!(effect("XA START X'61',X'',1"), StatementEffect::NamesXa("X'61',X'',1"));
        assert_eq!(effect("XA END X'61',X'',1"), StatementEffect::NamesXa("X'61',X'',1"));
        assert_eq!(effect("XA COMMIT X'61',X'',1"), StatementEffect::CommitsXa("X'61',X'',1"));
        assert_eq!(effect("XA ROLLBACK X'61',X'',1"), StatementEffect::RollsBackXa("X'61',X'',1"));
    }

    #[test]
    fn definition_of_tracked_table() {
        for text in [
            "/* who */ alter table shop.products add x int",
            "/*!50003 drop table if exists other, products */",
            "RENAME TABLE new TO products",
            "# why\n-- and\n create or replace table products(id int)",
            "drop database shop",
        ] {
            assert_eq!(effect(text), StatementEffect::Alters(0), "{text}");
        }
        assert_eq!(effect("truncate products"), StatementEffect::Truncates(0));
        assert_eq!(effect("TRUNCATE TABLE `shop`.`Stock`"), StatementEffect::Truncates(1));
        assert_eq!(effect("alter table sToCK engine=InnoDB"), StatementEffect::Alters(1));
        assert_eq!(effect("alter table crm.people drop x"), StatementEffect::Alters(2));
        for text in [
            "truncate products_old",
            "create table x(products_id int)",
            "alter table people drop x",
            "drop database crm_old",
            "grant select on shop.products to clerk",
            "optimize table products",
            "create view v as select 1",
            "create procedure p() select 1",
            "SET PASSWORD FOR clerk = 'x'",
        ] {
            assert_eq!(effect(text), StatementEffect::None, "{text}");
        }
    }

    #[test]
    fn data_statement_has_unknown_effect() {
        for text in [
            "update other set x = 1",
            "insert into log values (f())",
            "select f()",
            "replace x select 1",
            "delete from x",
            "with a as (select 1) select f() from a",
            "set statement max_statement_time=1 for update products set x = 1",
            "create table x select f()",
            "call p()",
            "load data infile 'x' into table y",
            "",
            "/* never closed",
        ] {
            assert_eq!(effect(text), StatementEffect::Unknown, "{text}");
        }
    }
}
