//! Checks whether the log contains every change of the rows behind a table's name.

use super::catalog::{PublishedTable, Table};
use crate::error::SetupIssue;
use crate::table::{TableName, TrackedTable};

/// The first version that can publish computed columns.
const GENERATED_VERSION: i32 = 180_000;

/// Returns the issues of the table itself, its partitions and its children.
pub(super) fn issues(
    name: &TableName,
    tracked: &TrackedTable,
    table: &Table,
) -> impl Iterator<Item = SetupIssue> {
    let storage = [unlogged(name, table), foreign(name, table), children(name, table)];
    let identity = [narrow_partition(name, tracked, table), keys(name, tracked, table)];
    storage.into_iter().chain(identity).flatten()
}

fn unlogged(name: &TableName, table: &Table) -> Option<SetupIssue> {
    let first = table.unlogged.first()?;
    let description = if table.partitioned {
        format!("Partitions of `{name}` are unlogged: the log does not contain their changes.")
    } else {
        format!("Table `{name}` is unlogged: the log does not contain its changes.")
    };
    let table = if table.partitioned { first.clone() } else { name.quoted() };
    Some(SetupIssue::new(description, [format!("alter table {table} set logged;")]))
}

fn foreign(name: &TableName, table: &Table) -> Option<SetupIssue> {
    let first = table.foreign.first()?;
    let description = format!(
        "Partitions of `{name}` are foreign tables: the log of this database does not contain their changes."
    );
    let remedy = format!("alter table {} detach partition {first};", name.quoted());
    Some(SetupIssue::new(description, [remedy]))
}

fn children(name: &TableName, table: &Table) -> Option<SetupIssue> {
    let first = table.children.first()?;
    let description = format!(
        "Tables inherit from `{name}` ({}): their rows are rows of `{name}` too, and the log contains the \
         changes under their own names.",
        table.children.join(", ")
    );
    let remedy = [
        format!("alter table {first} no inherit {};", name.quoted()),
        "-- or replace inheritance by partitions (partition by …)".to_owned(),
    ];
    Some(SetupIssue::new(description, remedy))
}

/// A partition's own identity decides which old values are logged. The one of its root does nothing.
fn narrow_partition(name: &TableName, tracked: &TrackedTable, table: &Table) -> Option<SetupIssue> {
    let partition = table.narrow_partition.as_ref()?;
    let missing = outside_identity(&tracked.old_columns, table)?;
    let description = format!(
        "`{name}` has the replica identity full and its partition `{partition}` has not: updates and deletes \
         there do not log the old value of {missing}."
    );
    let remedy =
        format!("alter table {partition} replica identity full; -- and every other partition");
    Some(SetupIssue::new(description, [remedy]))
}

fn keys(name: &TableName, tracked: &TrackedTable, table: &Table) -> Option<SetupIssue> {
    if table.identity.is_empty() {
        return None;
    }
    let missing = outside_identity(&tracked.key_columns, table)?;
    let description = format!(
        "Updates on `{name}` do not log the old value of {missing}, which keys are made from: the entry under \
         an old key would stay."
    );
    let remedy = [
        format!("alter table {} replica identity full;", name.quoted()),
        "-- or, with a unique index of these columns, all of them not null: \
         alter table … replica identity using index …;"
            .to_owned(),
    ];
    Some(SetupIssue::new(description, remedy))
}

/// Returns the columns that exist and are not in the replica identity, for display; `None` if there are none.
pub(super) fn outside_identity(columns: &[String], table: &Table) -> Option<String> {
    let missing: Vec<String> = columns
        .iter()
        .filter(|column| table.columns.contains(column) && !table.identity.contains(column))
        .map(|column| format!("`{column}`"))
        .collect();
    (!missing.is_empty()).then(|| missing.join(", "))
}

/// Returns an issue if keys or tags are made from computed columns that are not published. Where a value alone
/// shows such a column, every update of the row counts as a change of it.
pub(super) fn generated(
    name: &TableName,
    tracked: &TrackedTable,
    table: &Table,
    published: Option<&PublishedTable>,
    version: i32,
) -> Option<SetupIssue> {
    let is_published = |column: &String| {
        version >= GENERATED_VERSION
            && published
                .and_then(|published| published.columns.as_ref())
                .is_some_and(|columns| columns.contains(column))
    };
    let column = tracked
        .old_columns
        .iter()
        .find(|column| table.generated.contains(column) && !is_published(column))?;
    let description = format!(
        "Keys or tags use `{name}.{column}`, which the database computes from other columns, and the log does \
         not contain it."
    );
    let mut remedy =
        vec!["-- make the key or tag from the columns that it is computed from".to_owned()];
    if version >= GENERATED_VERSION {
        let set = "set (publish_generated_columns = stored)";
        remedy.push(format!("-- or, for a stored column: alter publication … {set};"));
    }
    Some(SetupIssue { description, remedy })
}

/// Returns an issue if the table's changes are published under the name of a table that it is a partition of.
pub(super) fn hidden_by_root(
    name: &TableName,
    table: &Table,
    published: &[PublishedTable],
) -> Option<SetupIssue> {
    let is_published = |root: &&TableName| published.iter().any(|table| table.name == **root);
    let root = table.ancestors.iter().find(is_published)?;
    let description = format!(
        "`{name}` is a partition of `{root}`, and the log contains its changes under that name only."
    );
    let remedy = format!("-- use {} in the contract", root.quoted());
    Some(SetupIssue::new(description, [remedy]))
}
