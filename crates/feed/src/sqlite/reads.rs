//! The tables and columns that values read, as SQLite reports them while it prepares a statement: through views too.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use contract::UnwatchedColumns;
use database::sqlite::driver_error;
use parking_lot::Mutex;
use rusqlite::Connection;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};

use super::connection::open;
use crate::error::{FeedError, SetupError, SetupIssue};
use crate::schema::{ReadObject, ScopedContract, ScopedTable, UnfollowedRead};

const OPERATION: &str = "reading the dependencies of contracts";

/// A relation of the file.
struct Relation {
    name: String,
    /// `table`, `view`, `virtual` or `shadow`.
    kind: String,
    /// In lower case; the number of a row (`rowid`) is none of them.
    columns: BTreeSet<String>,
}

/// The relations of the file by their names in lower case, as all names here.
type Relations = BTreeMap<String, Relation>;

/// A read that SQLite reports. A read of a relation without a column, as of `count(*)`, has an empty one.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Read {
    relation: String,
    column: String,
    /// The view, common table expression or subquery that reads; `None` for the statement itself.
    reader: Option<String>,
}

/// Returns the tables that values read and whose changes do not invalidate them, and the columns outside `from.columns`
/// that a view reads.
///
/// # Errors
/// [`FeedError::Setup`] if SQLite refuses a value, or if a statement itself reads a column outside `from.columns`.
pub fn unfollowed_reads(
    path: &Path,
    contracts: &[ScopedContract],
) -> Result<BTreeSet<UnfollowedRead>, FeedError> {
    let mut connection = open(path)?;
    let relations = relations(&connection).map_err(driver_error(OPERATION))?;
    let reports = Arc::new(Mutex::new(BTreeSet::new()));
    let reported = Arc::clone(&reports);
    let record = move |context: AuthContext<'_>| {
        reported.lock().extend(read_of(&context));
        Authorization::Allow
    };
    connection.authorizer(Some(record)).map_err(driver_error(OPERATION))?;
    let (mut unfollowed, mut issues) = (BTreeSet::new(), Vec::new());
    for contract in contracts {
        let Some(value) = &contract.value else { continue };
        reports.lock().clear();
        if let Err(problem) = connection.prepare(value) {
            issues.push(SetupIssue::unreadable_value(&contract.name, &problem.to_string(), ""));
            continue;
        }
        let reads = std::mem::take(&mut *reports.lock());
        let found = unfollowed_of(contract, &reads, &relations);
        let unfollowed_read = |read| UnfollowedRead { contract: contract.name.clone(), read };
        unfollowed.extend(found.unfollowed.into_iter().map(unfollowed_read));
        issues.extend(found.unwatched.iter().map(SetupIssue::unwatched));
    }
    if issues.is_empty() {
        return Ok(unfollowed);
    }
    Err(SetupError { database: path.display().to_string(), issues }.into())
}

fn relations(connection: &Connection) -> rusqlite::Result<Relations> {
    let sql = "select name, type from pragma_table_list where schema = 'main'";
    let mut statement = connection.prepare(sql)?;
    let names = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let names = names.collect::<rusqlite::Result<Vec<(String, String)>>>()?;
    let mut columns = connection.prepare("select lower(name) from pragma_table_xinfo(?1)")?;
    let mut relations = Relations::new();
    for (name, kind) in names {
        // To list those of a view, SQLite prepares the view, which may read a table that is missing.
        let columns = match kind.as_str() {
            "view" => BTreeSet::new(),
            _ => columns.query_map([&name], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?,
        };
        relations.insert(name.to_ascii_lowercase(), Relation { name, kind, columns });
    }
    Ok(relations)
}

fn read_of(context: &AuthContext<'_>) -> Option<Read> {
    let (relation, column) = match context.action {
        AuthAction::Read { table_name, column_name } => (table_name, column_name),
        // Tells of a view of which no column is read.
        AuthAction::Select => ("", ""),
        _ => return None,
    };
    Some(Read {
        relation: relation.to_ascii_lowercase(),
        column: column.to_ascii_lowercase(),
        reader: context.accessor.map(str::to_ascii_lowercase),
    })
}

#[derive(Default)]
struct Found {
    unfollowed: BTreeSet<ReadObject>,
    /// Columns that the statement itself reads.
    unwatched: Vec<UnwatchedColumns>,
}

fn unfollowed_of(
    contract: &ScopedContract,
    reads: &BTreeSet<Read>,
    relations: &Relations,
) -> Found {
    let kind = |name: &str| relations.get(name).map_or("", |relation| relation.kind.as_str());
    let names = reads.iter().flat_map(|read| read.reader.iter().chain([&read.relation]));
    let has_view = names.clone().any(|name| kind(name) == "view");
    let virtual_tables: BTreeSet<&String> = names.filter(|name| kind(name) == "virtual").collect();
    // A virtual table reads its own tables (`docs_data` of `docs`) with statements of its own.
    let is_part = |name: &str| {
        let of = |table: &&&String| {
            name.strip_prefix(table.as_str()).is_some_and(|rest| rest.starts_with('_'))
        };
        kind(name) == "shadow" && virtual_tables.iter().any(|table| of(&table))
    };
    let mut found = Found::default();
    for (name, relation) in relations {
        let of_relation = reads.iter().filter(|read| read.relation == *name);
        if relation.kind == "view" || is_part(name) || of_relation.clone().next().is_none() {
            continue;
        }
        let is_own = |table: &&ScopedTable| table.name.table.eq_ignore_ascii_case(name);
        let own: Vec<&ScopedTable> = contract.tables.iter().filter(is_own).collect();
        let mut raising = contract.raising.iter();
        if own.is_empty() && !raising.any(|table| table.table.eq_ignore_ascii_case(name)) {
            found.unfollowed.insert(ReadObject::Table(relation.name.clone()));
        }
        let columns = |by_statement: bool| -> Vec<String> {
            // A subquery of a view has a name of its own, so beside a view only the statement's top is its own.
            let is_by_statement = |read: &Read| read.reader.is_none() || !has_view;
            let matching = of_relation.clone().filter(|read| is_by_statement(read) == by_statement);
            let columns: BTreeSet<&String> = matching.map(|read| &read.column).collect();
            columns
                .intersection(&relation.columns.iter().collect())
                .map(|it| (*it).clone())
                .collect()
        };
        for table in own {
            let watched: Vec<String> =
                table.watched.iter().map(|column| column.to_ascii_lowercase()).collect();
            let unwatched =
                |read: &[String]| UnwatchedColumns::find(&contract.name, &watched, read);
            found.unwatched.extend(unwatched(&columns(true)));
            let others = unwatched(&columns(false)).map(|it| it.columns).unwrap_or_default();
            found.unfollowed.extend(others.into_iter().map(ReadObject::Column));
        }
    }
    found
}
