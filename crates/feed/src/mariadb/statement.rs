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
    /// It truncates the tables with these indexes.
    Truncates(Vec<usize>),
    /// It alters, or may alter, the tables with these indexes.
    Alters(Vec<usize>),
    /// It defines a view or function, which the values of any contract may use.
    Redefines,
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
    let text = without_comments(without_settings(without_comments(text)));
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
            on_tables(tables, |table| contains_name(text, &table.schema), StatementEffect::Alters)
        }
        ("TRUNCATE", _) => {
            let names = |table: &TableName| names_table(text, database, table);
            on_tables(tables, names, StatementEffect::Truncates)
        }
        ("CREATE" | "ALTER" | "DROP", _) if is_view_or_function(text) => StatementEffect::Redefines,
        ("CREATE" | "ALTER" | "DROP" | "RENAME", _) => {
            let names = |table: &TableName| names_table(text, database, table);
            on_tables(tables, names, StatementEffect::Alters)
        }
        (
            "ANALYZE" | "CHECK" | "FLUSH" | "GRANT" | "INSTALL" | "OPTIMIZE" | "REPAIR" | "REVOKE"
            | "SET" | "UNINSTALL",
            _,
        ) => StatementEffect::None,
        ("INSERT", "INTO") if is_heartbeat(text) => StatementEffect::None,
        _ => StatementEffect::Unknown,
    }
}

/// Whether it is the heartbeat that a provider of databases writes every few minutes as a statement, such as
/// `insert into mysql.rds_heartbeat2(id, value) values (1,1483041015005) on duplicate key update value = 1483041015005`.
/// The server allows no triggers on tables of `mysql`, and numbers call no functions.
fn is_heartbeat(text: &str) -> bool {
    const TABLES: [&str; 2] = ["rds_heartbeat2", "ha_health_check"];
    const OTHERS: [&str; 9] =
        ["insert", "into", "id", "value", "values", "on", "duplicate", "key", "update"];
    let words = text.split(|c: char| !is_word(c)).filter(|word| !word.is_empty());
    let words: Vec<String> = words.map(str::to_ascii_lowercase).collect();
    let names_heartbeat = words.get(2).is_some_and(|schema| schema == "mysql")
        && words.get(3).is_some_and(|table| TABLES.contains(&&**table));
    let is_plain =
        |word: &String| OTHERS.contains(&&**word) || word.bytes().all(|byte| byte.is_ascii_digit());
    names_heartbeat && words.iter().skip(4).all(is_plain)
}

/// Returns the effect on the tables for which `is_affected` holds.
fn on_tables<'a>(
    tables: &[TableName],
    is_affected: impl Fn(&TableName) -> bool,
    effect: fn(Vec<usize>) -> StatementEffect<'a>,
) -> StatementEffect<'a> {
    let affected = tables.iter().enumerate().filter(|(_, table)| is_affected(table));
    let affected: Vec<usize> = affected.map(|(index, _)| index).collect();
    if affected.is_empty() { StatementEffect::None } else { effect(affected) }
}

fn names_table(text: &str, database: &str, TableName { schema, table }: &TableName) -> bool {
    let in_schema = schema.eq_ignore_ascii_case(database) || contains_name(text, schema);
    in_schema && contains_name(text, table)
}

/// The kinds of objects that a statement may define.
const KINDS: [&str; 14] = [
    "TABLE",
    "VIEW",
    "FUNCTION",
    "PACKAGE",
    "TRIGGER",
    "PROCEDURE",
    "EVENT",
    "INDEX",
    "DATABASE",
    "SCHEMA",
    "SEQUENCE",
    "SERVER",
    "USER",
    "ROLE",
];

/// Returns the words of a definition in upper case, from the kind of object that it defines.
fn definition(text: &str) -> Vec<String> {
    let text = uncommented(text);
    let words = text.split(|c: char| !is_word(c)).filter(|word| !word.is_empty());
    let words = words.map(str::to_ascii_uppercase);
    words.skip_while(|word| !KINDS.contains(&&**word)).collect()
}

fn is_view_or_function(text: &str) -> bool {
    let words = definition(text);
    words.first().is_some_and(|kind| matches!(&**kind, "VIEW" | "FUNCTION" | "PACKAGE"))
}

/// Whether it is `create table … select …`, which runs a query that may call any function.
fn is_table_from_query(text: &str) -> bool {
    let words = definition(text);
    words.first().is_some_and(|kind| kind == "TABLE") && words.iter().any(|word| word == "SELECT")
}

/// Removes the comments that the server does not run: gh-ost writes `rename /* gh-ost */ table …`.
fn uncommented(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("/*") {
        kept.push_str(before);
        kept.push(' ');
        let runs = after.starts_with('!') || after.starts_with("M!");
        rest = match after.split_once("*/") {
            Some((_, after)) if !runs => after,
            _ => after,
        };
    }
    kept + rest
}

/// Whether the text contains the name as a word, in any case.
fn contains_name(text: &str, name: &str) -> bool {
    // A backtick within a quoted name is doubled.
    let (text, name) = (text.to_lowercase(), name.to_lowercase().replace('`', "``"));
    text.match_indices(&name).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + name.len()..].chars().next();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

/// Removes `set statement max_statement_time=1 for` from the start.
fn without_settings(text: &str) -> &str {
    const SETTINGS: &str = "SET STATEMENT ";
    let upper = text.get(..SETTINGS.len()).map(str::to_ascii_uppercase);
    if upper.is_none_or(|upper| upper != SETTINGS) {
        return text;
    }
    let at = text.to_ascii_uppercase().find(" FOR ");
    at.map_or(text, |at| &text[at + " FOR ".len()..])
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
            let StatementEffect::Alters(tables) = effect(text) else { panic!("{text}") };
            assert_eq!(tables[0], 0, "{text}");
        }
        assert_eq!(effect("truncate products"), StatementEffect::Truncates(vec![0]));
        assert_eq!(effect("TRUNCATE TABLE `shop`.`Stock`"), StatementEffect::Truncates(vec![1]));
        assert_eq!(effect("alter table sToCK engine=InnoDB"), StatementEffect::Alters(vec![1]));
        assert_eq!(effect("alter table crm.people drop x"), StatementEffect::Alters(vec![2]));
        for text in [
            "truncate products_old",
            "create table x(products_id int)",
            "alter table people drop x",
            "drop database crm_old",
            "grant select on shop.products to clerk",
            "optimize table products",
            "create procedure p() select 1",
            "SET PASSWORD FOR clerk = 'x'",
        ] {
            assert_eq!(effect(text), StatementEffect::None, "{text}");
        }
    }

    #[test]
    fn only_plain_heartbeat_changes_nothing() {
        for (text, expected) in [
            (
                "INSERT INTO mysql.rds_heartbeat2(id, value) values (1,1483041015005) ON DUPLICATE KEY \
                 UPDATE value = 1483041015005",
                StatementEffect::None,
            ),
            ("insert into `mysql`.`ha_health_check` (id) values (1)", StatementEffect::None),
            (
                "insert into mysql.rds_heartbeat2(id, value) values (1, f())",
                StatementEffect::Unknown,
            ),
            (
                "insert into mysql.rds_heartbeat2 select 1, id from products",
                StatementEffect::Unknown,
            ),
            ("insert into shop.rds_heartbeat2(id, value) values (1, 2)", StatementEffect::Unknown),
            ("insert into rds_heartbeat2(id, value) values (1, 2)", StatementEffect::Unknown),
            ("insert into mysql.other(id, value) values (1, 2)", StatementEffect::Unknown),
            ("delete from mysql.rds_heartbeat2", StatementEffect::Unknown),
        ] {
            assert_eq!(effect(text), expected, "{text}");
        }
    }

    #[test]
    fn every_named_table_is_altered() {
        for text in [
            "rename table products to products_old, stock to products",
            "drop table if exists `products`, `Stock`",
            "drop database shop",
            "SET STATEMENT lock_wait_timeout=1 FOR rename table products to x, y to stock",
            "alter table products exchange partition p0 with table stock",
            "rename /* gh-ost */ table `shop`.`products` to `shop`.`_del`, `shop`.`stock` to `shop`.`x`",
            "alter /* view */ table products, algorithm=inplace, comment 'stock'",
        ] {
            assert_eq!(effect(text), StatementEffect::Alters(vec![0, 1]), "{text}");
        }
    }

    #[test]
    fn view_or_function_may_be_part_of_any_value() {
        for text in [
            "create or replace algorithm=merge definer=`a`@`b` sql security definer view v as select 1",
            "alter view products as select 1",
            "drop view if exists v",
            "create function f() returns int return 1",
            "CREATE DEFINER=`root`@`localhost` FUNCTION `f`(x int) RETURNS int RETURN x",
            "create /* no table */ /*!50001 algorithm=merge */ view v as select 1",
        ] {
            assert_eq!(effect(text), StatementEffect::Redefines, "{text}");
        }
        assert_eq!(effect("create table view_count(id int)"), StatementEffect::None);
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
