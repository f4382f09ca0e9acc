//! What a statement in the log means.
//!
//! A server with `binlog_format=ROW` writes the statements that define things, and those that begin
//! and end groups. Any session may choose another format for itself, though; what its statements
//! changed, directly or through triggers and functions, nobody can tell from outside.

/// What a statement says about the tables that are followed.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Meaning<'a> {
    /// Nothing.
    Nothing,
    /// Its group ends.
    End,
    /// The transaction will be prepared under this name.
    Prepares(&'a str),
    /// The transaction that was prepared under this name is committed.
    CommitsPrepared(&'a str),
    /// And this one is not.
    ForgetsPrepared(&'a str),
    /// The table with this index was emptied.
    Empties(usize),
    /// The table with this index is, or may be, another one now.
    Redefines(usize),
    /// It changed what nobody knows.
    Anything,
}

/// `tables`: databases and names of those that are followed. `database`: the session's own.
pub(super) fn meaning<'a>(
    text: &'a str,
    database: &str,
    tables: &[(String, String)],
) -> Meaning<'a> {
    let text = without_comments(text);
    let mut words = text.split(|c: char| !is_word(c)).filter(|word| !word.is_empty());
    let mut next = || words.next().unwrap_or_default().to_ascii_uppercase();
    let (first, second) = (next(), next());
    // `XA COMMIT X'61',X'',1`
    let name = || text.splitn(3, char::is_whitespace).nth(2).unwrap_or_default().trim();
    match (first.as_str(), second.as_str()) {
        ("COMMIT", _) => Meaning::End,
        // A part of a transaction; what it changed in the log before is told all the same.
        ("ROLLBACK", "TO") => Meaning::Nothing,
        ("ROLLBACK", _) => Meaning::End,
        ("XA", "START" | "BEGIN" | "END") => Meaning::Prepares(name()),
        ("XA", "COMMIT") => Meaning::CommitsPrepared(name()),
        ("XA", "ROLLBACK") => Meaning::ForgetsPrepared(name()),
        ("BEGIN" | "SAVEPOINT" | "RELEASE", _) => Meaning::Nothing,
        ("SET", "STATEMENT") => Meaning::Anything,
        ("CREATE", _) if is_table_from_query(text) => Meaning::Anything,
        ("DROP", "DATABASE" | "SCHEMA") => {
            let gone = tables.iter().position(|(database, _)| names(text, database));
            gone.map_or(Meaning::Nothing, Meaning::Redefines)
        }
        ("TRUNCATE", _) => named(text, database, tables).map_or(Meaning::Nothing, Meaning::Empties),
        ("CREATE" | "ALTER" | "DROP" | "RENAME", _) => {
            named(text, database, tables).map_or(Meaning::Nothing, Meaning::Redefines)
        }
        (
            "ANALYZE" | "CHECK" | "FLUSH" | "GRANT" | "INSTALL" | "OPTIMIZE" | "REPAIR" | "REVOKE"
            | "SET" | "UNINSTALL",
            _,
        ) => Meaning::Nothing,
        _ => Meaning::Anything,
    }
}

/// The first of the tables that the text names.
fn named(text: &str, database: &str, tables: &[(String, String)]) -> Option<usize> {
    tables.iter().position(|(of, table)| {
        (of.eq_ignore_ascii_case(database) || names(text, of)) && names(text, table)
    })
}

/// `create table … select …` runs a query, which may call anything.
fn is_table_from_query(text: &str) -> bool {
    let mut words = text.split(|c: char| !is_word(c)).filter(|word| !word.is_empty());
    let is = |word: &str, name: &str| word.eq_ignore_ascii_case(name);
    let others = ["VIEW", "TRIGGER", "PROCEDURE", "FUNCTION", "PACKAGE", "EVENT"];
    let kind = words.find(|word| is(word, "TABLE") || others.iter().any(|other| is(word, other)));
    kind.is_some_and(|word| is(word, "TABLE")) && words.any(|word| is(word, "SELECT"))
}

/// Whether the name stands in the text as a word, in whatever case.
fn names(text: &str, name: &str) -> bool {
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

/// Without the comments and brackets at its beginning.
fn without_comments(text: &str) -> &str {
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '(' || c == ';');
        let after = match rest {
            // What the server runs although it looks like a comment is read on.
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

    fn told(text: &str) -> Meaning<'_> {
        let tables = [("shop", "products"), ("shop", "Stock"), ("crm", "people")];
        let tables = tables.map(|(database, table)| (database.to_owned(), table.to_owned()));
        meaning(text, "shop", &tables)
    }

    #[test]
    fn groups_begin_and_end() {
        assert_eq!(told("COMMIT"), Meaning::End);
        assert_eq!(told("ROLLBACK"), Meaning::End);
        assert_eq!(told("ROLLBACK TO `s`"), Meaning::Nothing);
        assert_eq!(told("SAVEPOINT `s`"), Meaning::Nothing);
        assert_eq!(told("XA START X'61',X'',1"), Meaning::Prepares("X'61',X'',1"));
        assert_eq!(told("XA END X'61',X'',1"), Meaning::Prepares("X'61',X'',1"));
        assert_eq!(told("XA COMMIT X'61',X'',1"), Meaning::CommitsPrepared("X'61',X'',1"));
        assert_eq!(told("XA ROLLBACK X'61',X'',1"), Meaning::ForgetsPrepared("X'61',X'',1"));
    }

    #[test]
    fn definitions_matter_where_they_name_a_table() {
        for text in [
            "/* who */ alter table shop.products add x int",
            "/*!50003 drop table if exists other, products */",
            "RENAME TABLE new TO products",
            "# why\n-- and\n create or replace table products(id int)",
            "drop database shop",
        ] {
            assert_eq!(told(text), Meaning::Redefines(0), "{text}");
        }
        assert_eq!(told("truncate products"), Meaning::Empties(0));
        assert_eq!(told("TRUNCATE TABLE `shop`.`Stock`"), Meaning::Empties(1));
        assert_eq!(told("alter table sToCK engine=InnoDB"), Meaning::Redefines(1));
        assert_eq!(told("alter table crm.people drop x"), Meaning::Redefines(2));
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
            assert_eq!(told(text), Meaning::Nothing, "{text}");
        }
    }

    #[test]
    fn statements_that_change_rows_may_have_changed_anything() {
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
            assert_eq!(told(text), Meaning::Anything, "{text}");
        }
    }
}
