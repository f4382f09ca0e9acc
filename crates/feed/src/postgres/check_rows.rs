//! Checks whether the log contains every change of the rows behind a table's name.

use database::quoting::identifier;

use super::catalog::{Publication, PublishedTable, STORED_COLUMNS_VERSION, Table};
use crate::error::SetupIssue;
use crate::table::{TableName, TrackedTable};

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

/// The computed columns that a publication contains of a table.
pub(super) struct ComputedColumns<'a> {
    table: &'a Table,
    version: i32,
    /// The columns that are published, if the table is.
    published: Option<&'a [String]>,
    /// Whether those of any further table are published that are stored.
    stored: bool,
}

impl<'a> ComputedColumns<'a> {
    /// Returns those of a publication that exists.
    pub(super) fn of(
        publication: &Publication,
        table: &'a Table,
        published: Option<&'a PublishedTable>,
        version: i32,
    ) -> Self {
        let published = published.and_then(|published| published.columns.as_deref());
        Self { table, version, published, stored: publication.stored_columns }
    }

    /// Returns those of a publication that is to be created, with the stored ones or without.
    pub(super) fn of_new(table: &'a Table, stored: bool, version: i32) -> Self {
        Self { table, version, published: None, stored }
    }

    fn contains(&self, column: &String) -> bool {
        match self.published {
            _ if self.version < STORED_COLUMNS_VERSION => false,
            Some(published) => published.contains(column),
            None => self.stored && !self.table.computed_on_read.contains(column),
        }
    }

    /// Returns the first of `columns` that is computed and not published.
    fn missing<'c>(&self, columns: &'c [String]) -> Option<&'c String> {
        let is_missing =
            |column: &&String| self.table.generated.contains(*column) && !self.contains(column);
        columns.iter().find(is_missing)
    }

    /// Returns the issues of a publication with this name: computed columns that it lacks although keys or tags
    /// are made from them, or although the server needs them. Where a value alone shows such a column, every
    /// update of the row counts as a change of it.
    pub(super) fn issues(
        &self,
        publication: &str,
        name: &TableName,
        tracked: &TrackedTable,
    ) -> impl Iterator<Item = SetupIssue> {
        [self.names(publication, name, tracked), self.identity(publication, name)]
            .into_iter()
            .flatten()
    }

    fn names(
        &self,
        publication: &str,
        name: &TableName,
        tracked: &TrackedTable,
    ) -> Option<SetupIssue> {
        let column = self.missing(&tracked.old_columns)?;
        let description = format!(
            "Keys or tags use `{name}.{column}`, which the database computes from other columns, and the log \
             does not contain it."
        );
        let mut remedy =
            vec!["-- make the key or tag from the columns that it is computed from".to_owned()];
        if self.version >= STORED_COLUMNS_VERSION {
            let is_stored = !self.table.computed_on_read.contains(column);
            let stored = if is_stored { "" } else { " after the column is made a stored one" };
            remedy.push(format!("-- or{stored}:"));
            remedy.push(publish_stored(publication));
        }
        Some(SetupIssue { description, remedy, subject: None })
    }

    /// From this version on the server refuses changes whose replica identity it could not log.
    fn identity(&self, publication: &str, name: &TableName) -> Option<SetupIssue> {
        if self.version < STORED_COLUMNS_VERSION {
            return None;
        }
        let column = self.missing(&self.table.identity)?;
        let description = format!(
            "The replica identity of table `{name}` contains the computed column `{column}`, which is not \
             published: PostgreSQL rejects every UPDATE and DELETE on it, also the application's."
        );
        let index = format!(
            "alter table {} replica identity using index …; -- of other columns",
            name.quoted()
        );
        let remedy = if self.table.computed_on_read.contains(column) {
            vec!["-- make the column a stored one, and publish it; or:".to_owned(), index]
        } else {
            vec![publish_stored(publication), format!("-- or: {index}")]
        };
        Some(SetupIssue { description, remedy, subject: None })
    }
}

/// Returns whether a publication of the table has to contain its stored computed columns.
pub(super) fn needs_stored_columns(table: &Table, tracked: &TrackedTable) -> bool {
    let is_needed =
        |column: &String| tracked.old_columns.contains(column) || table.identity.contains(column);
    let stored = |column: &&String| !table.computed_on_read.contains(*column);
    table.generated.iter().filter(stored).any(is_needed)
}

fn publish_stored(publication: &str) -> String {
    format!(
        "alter publication {} set (publish_generated_columns = stored);",
        identifier(publication)
    )
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
