//! The contracts that a database's tables suggest.

use std::collections::BTreeSet;

use database::quoting;
use feed::{SurveyedTable, TableKind};

use super::sensitive_column::looks_sensitive;

/// A database engine, whose names and types differ from those of others.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Engine {
    /// PostgreSQL.
    Postgres,
    /// MariaDB.
    MariaDb,
    /// SQLite.
    Sqlite,
}

/// The contracts of a first configuration.
#[derive(Debug, Default, Eq, PartialEq)]
pub(crate) struct Proposal {
    pub(crate) contracts: Vec<ProposedContract>,
    /// The tables without a contract, each with the reason: `it is a view`.
    pub(crate) omitted: Vec<(String, String)>,
}

/// A contract whose value is a row of one table.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct ProposedContract {
    pub(crate) name: String,
    /// The table, as contracts write it.
    pub(crate) table: String,
    pub(crate) key: String,
    /// The statement of the value.
    pub(crate) value: String,
    /// The columns that the value leaves out.
    pub(crate) hidden: Vec<String>,
}

/// Tables of tools that migrate schemas.
const MIGRATION_TABLES: [&str; 12] = [
    "__efmigrationshistory",
    "_prisma_migrations",
    "alembic_version",
    "ar_internal_metadata",
    "databasechangelog",
    "databasechangeloglock",
    "django_migrations",
    "flyway_schema_history",
    "knex_migrations",
    "migrations",
    "schema_migrations",
    "sequelizemeta",
];

/// Words that are names only in quotes, in one of the engines.
const RESERVED: [&str; 96] = [
    "add",
    "all",
    "alter",
    "analyse",
    "analyze",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "between",
    "both",
    "by",
    "call",
    "case",
    "cast",
    "change",
    "char",
    "check",
    "collate",
    "column",
    "condition",
    "constraint",
    "create",
    "cross",
    "current_date",
    "current_time",
    "current_user",
    "database",
    "default",
    "delete",
    "desc",
    "describe",
    "distinct",
    "do",
    "drop",
    "else",
    "end",
    "except",
    "exists",
    "false",
    "fetch",
    "for",
    "foreign",
    "from",
    "full",
    "grant",
    "group",
    "having",
    "in",
    "index",
    "inner",
    "insert",
    "int",
    "interval",
    "into",
    "is",
    "join",
    "key",
    "keys",
    "left",
    "like",
    "limit",
    "lock",
    "match",
    "natural",
    "not",
    "null",
    "offset",
    "on",
    "only",
    "option",
    "or",
    "order",
    "outer",
    "primary",
    "range",
    "rank",
    "read",
    "references",
    "release",
    "right",
    "row",
    "rows",
    "select",
    "set",
    "table",
    "then",
    "to",
    "trigger",
    "true",
    "union",
    "unique",
    "update",
    "user",
    "where",
];

/// Proposes a contract for each table whose row is a value, and names the others. `wanted`: the only tables to
/// consider; empty: all. A named table is proposed without its sensitive columns; others that have some are left out.
pub(crate) fn propose(engine: Engine, tables: &[SurveyedTable], wanted: &[String]) -> Proposal {
    let mut proposal = Proposal::default();
    let mut names = BTreeSet::new();
    for table in tables {
        let is_named = wanted.contains(&table.name);
        if !wanted.is_empty() && !is_named {
            continue;
        }
        match obstacle(engine, table, is_named) {
            Some(reason) => proposal.omitted.push((table.name.clone(), reason)),
            None => {
                let name = free_name(&table.name, &mut names);
                proposal.contracts.push(contract(engine, table, name));
            }
        }
    }
    proposal
}

/// Returns the reason why a table gets no contract.
fn obstacle(engine: Engine, table: &SurveyedTable, is_named: bool) -> Option<String> {
    if let TableKind::Unfollowable(reason) = &table.kind {
        return Some(reason.clone());
    }
    let key = match table.key.as_slice() {
        [key] => key,
        [] => return Some("it has no primary key".to_owned()),
        keys => {
            let keys = keys.join(", ");
            return Some(format!("its primary key has several columns ({keys})"));
        }
    };
    let column = table.columns.iter().find(|column| column.name == *key)?;
    if !is_key_type(engine, &column.data_type) {
        return Some(format!("its key `{key}` is of type {}: see docs/types.md", column.data_type));
    }
    let bare_name = contract::split_table_name(&table.name).1.to_ascii_lowercase();
    if MIGRATION_TABLES.contains(&bare_name.as_str()) && !is_named {
        return Some("it belongs to a migration tool".to_owned());
    }
    let sensitive = sensitive_columns(table);
    if is_named || sensitive.is_empty() {
        return None;
    }
    Some(format!(
        "it looks personal or secret ({}): --table {} proposes it without these columns",
        sensitive.join(", "),
        table.name
    ))
}

fn sensitive_columns(table: &SurveyedTable) -> Vec<&str> {
    let columns = table.columns.iter().map(|column| column.name.as_str());
    columns.filter(|column| looks_sensitive(column)).collect()
}

/// Whether the texts of a type are ids as they are.
fn is_key_type(engine: Engine, data_type: &str) -> bool {
    let name = data_type.to_ascii_lowercase();
    match engine {
        Engine::Postgres => matches!(
            name.as_str(),
            "smallint" | "integer" | "bigint" | "text" | "character varying" | "uuid"
        ),
        // A text's collation decides which ids are equal.
        Engine::MariaDb => match name.split_once(" collate ") {
            Some((
                "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext",
                collation,
            )) => collation.ends_with("_bin"),
            Some(_) => false,
            None => {
                matches!(name.as_str(), "tinyint" | "smallint" | "mediumint" | "int" | "bigint")
            }
        },
        Engine::Sqlite => ["int", "char", "text", "clob"].iter().any(|part| name.contains(part)),
    }
}

/// Whether JSON can hold the values of a type.
fn is_value_type(engine: Engine, data_type: &str) -> bool {
    let name = data_type.to_ascii_lowercase();
    match engine {
        Engine::Postgres => !matches!(name.as_str(), "bytea" | "tsvector"),
        Engine::MariaDb => {
            let binary = ["binary", "blob", "geometry", "point", "polygon", "linestring", "bit"];
            !binary.iter().any(|part| name.contains(part))
        }
        Engine::Sqlite => !name.contains("blob"),
    }
}

fn contract(engine: Engine, table: &SurveyedTable, name: String) -> ProposedContract {
    let key = table.key.first().cloned().unwrap_or_default();
    let is_shown = |column: &str, data_type: &str| {
        column == key || (!looks_sensitive(column) && is_value_type(engine, data_type))
    };
    let (shown, hidden): (Vec<_>, Vec<_>) =
        table.columns.iter().partition(|column| is_shown(&column.name, &column.data_type));
    let columns: Vec<String> = shown.iter().map(|column| written(engine, &column.name)).collect();
    let (schema, bare_name) = contract::split_table_name(&table.name);
    let from = match schema {
        Some(schema) => format!("{}.{}", written(engine, &schema), written(engine, &bare_name)),
        None => written(engine, &bare_name),
    };
    ProposedContract {
        name,
        table: table.name.clone(),
        value: format!(
            "select {} from {from} where {} = $id",
            columns.join(", "),
            written(engine, &key)
        ),
        key,
        hidden: hidden.into_iter().map(|column| column.name.clone()).collect(),
    }
}

/// Returns a name in a statement, in quotes only where it needs them.
fn written(engine: Engine, name: &str) -> String {
    let is_plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    match engine {
        _ if is_plain && !RESERVED.contains(&name) => name.to_owned(),
        Engine::MariaDb => quoting::mariadb_identifier(name),
        Engine::Postgres | Engine::Sqlite => quoting::identifier(name),
    }
}

/// Returns a contract's name for a table that no other contract has.
fn free_name(table: &str, taken: &mut BTreeSet<String>) -> String {
    let (_, bare_name) = contract::split_table_name(table);
    let base = slug(&bare_name, '_', "table");
    let mut name = base.clone();
    let mut number = 2;
    while !taken.insert(name.clone()) {
        name = format!("{base}_{number}");
        number += 1;
    }
    name
}

/// Returns a text as lower-case letters, digits and `separator`, beginning with a letter; at most 48 bytes.
pub(super) fn slug(text: &str, separator: char, fallback: &str) -> String {
    let plain = text.chars().map(|c| match c.to_ascii_lowercase() {
        c if c.is_ascii_lowercase() || c.is_ascii_digit() => c,
        _ => separator,
    });
    let plain: String = plain.collect();
    let plain = plain.trim_matches(separator);
    let plain: String = plain.chars().take(48).collect();
    match plain.chars().next() {
        Some(first) if first.is_ascii_lowercase() => plain,
        Some(_) => format!("{fallback}{separator}{plain}"),
        None => fallback.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use feed::SurveyedColumn;

    use super::*;

    fn table(name: &str, key: &[&str], columns: &[(&str, &str)]) -> SurveyedTable {
        let column = |(name, data_type): &(&str, &str)| SurveyedColumn {
            name: (*name).to_owned(),
            data_type: (*data_type).to_owned(),
        };
        SurveyedTable {
            name: name.to_owned(),
            kind: TableKind::Followable,
            columns: columns.iter().map(column).collect(),
            key: key.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    fn reason(proposal: &Proposal) -> &str {
        assert!(proposal.contracts.is_empty(), "{proposal:?}");
        &proposal.omitted[0].1
    }

    #[test]
    fn plain_table_proposed() {
        let columns = [("id", "integer"), ("name", "text"), ("order", "integer")];
        let proposal = propose(Engine::Postgres, &[table("products", &["id"], &columns)], &[]);
        let contract = &proposal.contracts[0];
        assert_eq!((contract.name.as_str(), contract.key.as_str()), ("products", "id"));
        assert_eq!(contract.value, "select id, name, \"order\" from products where id = $id");
    }

    #[test]
    fn names_quoted_where_needed() {
        let columns = [("Id", "int"), ("a`b", "text"), ("image", "longblob")];
        let proposal = propose(Engine::MariaDb, &[table("Order", &["Id"], &columns)], &[]);
        let contract = &proposal.contracts[0];
        assert_eq!(contract.value, "select `Id`, `a``b` from `Order` where `Id` = $id");
        assert_eq!(
            (contract.name.as_str(), &contract.hidden[..]),
            ("order", &["image".to_owned()][..])
        );
    }

    #[test]
    fn text_with_binary_collation_is_key_on_mariadb() {
        for (data_type, is_key) in [
            ("varchar collate utf8mb4_bin", true),
            ("char collate ascii_bin", true),
            ("varchar collate utf8mb4_general_ci", false),
            ("enum collate utf8mb4_bin", false),
            ("bigint", true),
            ("int zerofill", false),
        ] {
            let products = table("products", &["sku"], &[("sku", data_type), ("n", "int")]);
            let proposal = propose(Engine::MariaDb, &[products], &[]);
            assert_eq!(proposal.contracts.len(), usize::from(is_key), "{data_type}: {proposal:?}");
        }
    }

    #[test]
    fn unsuitable_tables_named_with_reason() {
        let id = [("id", "integer"), ("other", "integer")];
        for (table, expected) in [
            (table("a", &[], &id), "no primary key"),
            (table("a", &["id", "other"], &id), "several columns (id, other)"),
            (table("a", &["id"], &[("id", "double precision")]), "of type double precision"),
            (table("schema_migrations", &["id"], &id), "migration tool"),
            (table("users", &["id"], &[("id", "integer"), ("email", "text")]), "--table users"),
        ] {
            let proposal = propose(Engine::Postgres, &[table], &[]);
            assert!(reason(&proposal).contains(expected), "{proposal:?}");
        }
        let kind = TableKind::Unfollowable("it is a view".to_owned());
        let view = SurveyedTable { kind, ..table("a", &["id"], &id) };
        assert_eq!(reason(&propose(Engine::Sqlite, &[view], &[])), "it is a view");
    }

    #[test]
    fn named_table_without_sensitive_columns() {
        let columns = [("id", "integer"), ("email", "text"), ("name", "text")];
        let tables = [table("users", &["id"], &columns), table("other", &["id"], &columns[..1])];
        let proposal = propose(Engine::Postgres, &tables, &["users".to_owned()]);
        assert_eq!(proposal.contracts.len(), 1);
        assert_eq!(proposal.contracts[0].value, "select id, name from users where id = $id");
        assert_eq!(proposal.contracts[0].hidden, ["email"]);
    }

    #[test]
    fn contract_names_are_unique_and_valid() {
        let id = [("id", "integer")];
        let tables =
            ["a.things", "b.things", "9-lives", "ünder"].map(|name| table(name, &["id"], &id));
        let proposal = propose(Engine::Postgres, &tables, &[]);
        let names: Vec<_> = proposal.contracts.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["things", "things_2", "table_9_lives", "nder"]);
    }
}
