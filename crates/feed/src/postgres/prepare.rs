//! What a database needs before it can be followed: checked all at once, mended where we may.

use super::catalog::{self, Facts, Publication, Table};
use super::options::PostgresOptions;
use super::server::{Control, Server};
use super::slot;
use crate::error::{FeedError, Problem, Setup};
use crate::tracked::{TableName, Tracked, quote_name};

/// The first version whose `pgoutput` passes logical messages on.
const OLDEST: i32 = 140_000;

/// What [`prepare`] found and did.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Prepared {
    /// What works but will hurt one day, and what to run against it; for people.
    pub warnings: Vec<Problem>,
    /// What was done to the database; for people.
    pub done: Vec<String>,
}

/// Checks that the database can be followed, and creates or completes the publication. The slot is
/// made by the feed itself, by whoever leads first.
///
/// # Errors
/// [`FeedError::Setup`] with everything that is missing and what a database administrator has to
/// run, or [`FeedError::Unavailable`].
pub async fn prepare(options: &PostgresOptions) -> Result<Prepared, FeedError> {
    let server = Server::parse(&options.url)?;
    let control = server.connect().await?;
    prepare_on(&control, &server, options).await
}

pub(super) async fn prepare_on(
    control: &Control,
    server: &Server,
    options: &PostgresOptions,
) -> Result<Prepared, FeedError> {
    let (warnings, plan) = examine(control, server, options).await?;
    let mut done = Vec::new();
    if let Some(sql) = plan {
        match control.run(&sql).await {
            Ok(()) => {
                tracing::info!(source = %options.source, sql, "changed the publication");
                done.push(sql);
            }
            // Another node may have done it at the same moment.
            Err(err) if examine(control, server, options).await?.1.is_some() => return Err(err),
            Err(_) => {}
        }
    }
    Ok(Prepared { warnings, done })
}

/// Warnings, and the statement that is still to be run.
async fn examine(
    control: &Control,
    server: &Server,
    options: &PostgresOptions,
) -> Result<(Vec<Problem>, Option<String>), FeedError> {
    let facts = catalog::facts(control).await?;
    let mut check = Check::default();
    check.server(&facts);
    match slot::state(control, server, &options.slot).await {
        Ok(slot::State::Missing) => check.room_for_a_slot(&facts),
        Ok(_) => {}
        Err(FeedError::Setup(setup)) => check.problems.extend(setup.problems),
        Err(err) => return Err(err),
    }
    let mut tables = Vec::new();
    for tracked in &options.tables {
        let name = TableName::parse(&tracked.table);
        let table = catalog::table(control, &name).await?;
        check.table(&name, tracked, table.as_ref());
        check.readable(&facts.role, &name, tracked, table.as_ref());
        tables.extend(table.map(|table| (name, table, tracked)));
    }
    let publication = catalog::publication(control, &options.publication, facts.version).await?;
    let plan = check.publication(&options.publication, publication.as_ref(), &tables, &facts);
    if check.problems.is_empty() {
        return Ok((check.warnings, plan));
    }
    Err(Setup { database: server.name(), problems: check.problems }.into())
}

/// The same for a database whose log somebody else reads, into the publication that is named. Nothing is
/// changed, and the server's own settings are the other reader's affair. Answers warnings.
pub(super) async fn relayed(
    control: &Control,
    server: &Server,
    options: &PostgresOptions,
) -> Result<Vec<Problem>, FeedError> {
    let facts = catalog::facts(control).await?;
    let mut check = Check::default();
    if facts.version < OLDEST {
        check.too_old(facts.version);
    }
    let publication = catalog::publication(control, &options.publication, facts.version).await?;
    let mut tables = Vec::new();
    for tracked in &options.tables {
        let name = TableName::parse(&tracked.table);
        let table = catalog::table(control, &name).await?;
        check.table(&name, tracked, table.as_ref());
        check.readable(&facts.role, &name, tracked, table.as_ref());
        tables.extend(table.map(|table| (name, table, tracked)));
    }
    if let Some(publication) = &publication {
        check.published(&options.publication, publication, &tables);
    }
    if !check.problems.is_empty() {
        return Err(Setup { database: server.name(), problems: check.problems }.into());
    }
    Ok(check.warnings)
}

/// Whether the publication holds every table, so that all changes are told from now on.
pub(super) async fn is_published(
    control: &Control,
    options: &PostgresOptions,
) -> Result<(), FeedError> {
    const DOING: &str = "looking at the publication";
    let name = &options.publication;
    let version = catalog::facts(control).await?.version;
    let Some(publication) = catalog::publication(control, name, version).await? else {
        let what = format!("there is no publication `{name}`; Debezium makes it when it starts");
        return Err(FeedError::unavailable(DOING, what));
    };
    for tracked in &options.tables {
        let table = TableName::parse(&tracked.table);
        if publication.tables.iter().all(|published| published.name != table) {
            let what =
                format!("the publication `{name}` lacks `{table}`: its changes are not told");
            return Err(FeedError::unavailable(DOING, what));
        }
    }
    Ok(())
}

#[derive(Default)]
struct Check {
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl Check {
    fn problem<const N: usize>(&mut self, what: impl Into<String>, fix: [String; N]) {
        self.problems.push(Problem::new(what, fix));
    }

    fn server(&mut self, facts: &Facts) {
        if facts.version < OLDEST {
            self.too_old(facts.version);
        }
        if facts.wal_level != "logical" {
            let what = format!(
                "`wal_level` is `{}`: the log does not hold the changes of rows.",
                facts.wal_level
            );
            let fix = ["alter system set wal_level = 'logical';", "-- then restart PostgreSQL"];
            self.problem(what, fix.map(str::to_owned));
        }
        if !facts.may_replicate {
            let what = format!("The role `{}` may not follow the log.", facts.role);
            self.problem(what, [format!("alter role {} replication;", quote_name(&facts.role))]);
        }
        if facts.max_wal_senders == 0 {
            let what = "`max_wal_senders` is 0: nobody can follow the log.";
            let fix = ["alter system set max_wal_senders = 10;", "-- then restart PostgreSQL"];
            self.problem(what, fix.map(str::to_owned));
        }
        if facts.max_slot_wal_keep_size < 0 {
            let what = "`max_slot_wal_keep_size` is unlimited: while nobody follows, the log that \
                        the slot keeps can fill the database's disk.";
            let fix = [
                "alter system set max_slot_wal_keep_size = '10GB'; -- what the disk can spare",
                "select pg_reload_conf();",
            ];
            self.warnings.push(Problem::new(what, fix.map(str::to_owned)));
        }
    }

    fn too_old(&mut self, version: i32) {
        let what = format!("PostgreSQL {} is too old.", version / 10_000);
        self.problem(what, ["-- PostgreSQL 14 or later is needed".to_owned()]);
    }

    fn room_for_a_slot(&mut self, facts: &Facts) {
        if facts.slots_left > 0 {
            return;
        }
        let what = "All of `max_replication_slots` are taken, and one more is needed.";
        let fix = [
            "select slot_name, active from pg_replication_slots; -- is one of them left over?",
            "alter system set max_replication_slots = 20; -- or more than now",
            "-- then restart PostgreSQL",
        ];
        self.problem(what, fix.map(str::to_owned));
    }

    fn table(&mut self, name: &TableName, tracked: &Tracked, table: Option<&Table>) {
        let Some(table) = table else {
            let what = format!("There is no table `{name}`, which contracts refer to.");
            return self.problem(what, [format!("create table {}(…);", name.quoted())]);
        };
        if !table.ordinary {
            let what = format!("`{name}` is no table; only tables can be followed.");
            return self.problem(what, ["-- name the table behind it in the contract".to_owned()]);
        }
        if table.unlogged {
            let what = format!("Table `{name}` is unlogged: its changes are not in the log.");
            self.problem(what, [format!("alter table {} set logged;", name.quoted())]);
        }
        let absent = |column: &&String| !table.columns.contains(column);
        for column in tracked.columns.iter().chain(&tracked.old_columns).filter(absent) {
            let what =
                format!("Table `{name}` has no column `{column}`, which contracts refer to.");
            let fix = format!("alter table {} add column {} …;", name.quoted(), quote_name(column));
            self.problem(what, [fix]);
        }
        if table.identity.is_empty() {
            let what = format!(
                "Table `{name}` has no primary key and no replica identity: once it is published, \
                 PostgreSQL refuses every UPDATE and DELETE on it, the application's too."
            );
            let fix = [
                format!("alter table {} add primary key (…);", name.quoted()),
                format!("-- or: alter table {} replica identity full;", name.quoted()),
            ];
            return self.problem(what, fix);
        }
        self.old_values(name, tracked, table);
    }

    /// What contracts name is mostly read as well, over the same URL.
    fn readable(&mut self, role: &str, name: &TableName, tracked: &Tracked, table: Option<&Table>) {
        let Some(table) = table else { return };
        let role_name = quote_name(role);
        if !table.may_use_schema {
            let what = format!("The role `{role}` may not use the schema `{}`.", name.schema);
            let schema = quote_name(&name.schema);
            self.problem(what, [format!("grant usage on schema {schema} to {role_name};")]);
        }
        let hidden =
            |column: &&String| table.columns.contains(column) && !table.readable.contains(column);
        if tracked.columns.iter().any(|column| hidden(&column)) {
            let what = format!("The role `{role}` may not read table `{name}`.");
            self.problem(what, [format!("grant select on {} to {role_name};", name.quoted())]);
        }
    }

    fn old_values(&mut self, name: &TableName, tracked: &Tracked, table: &Table) {
        let untold: Vec<&str> = tracked
            .old_columns
            .iter()
            .filter(|column| !table.identity.contains(column))
            .map(String::as_str)
            .collect();
        if untold.is_empty() {
            return;
        }
        let what = format!(
            "Updates and deletes on `{name}` do not tell the old value of {}: what was made from \
             the old value can't be found and stays until its budget has passed.",
            untold.iter().map(|column| format!("`{column}`")).collect::<Vec<_>>().join(", ")
        );
        let fix = [format!("alter table {} replica identity full;", name.quoted())];
        self.warnings.push(Problem::new(what, fix));
    }

    /// The statement that makes the publication what it should be, if one is needed and we may.
    fn publication(
        &mut self,
        name: &str,
        publication: Option<&Publication>,
        tables: &[(TableName, Table, &Tracked)],
        facts: &Facts,
    ) -> Option<String> {
        let list = |tables: &[&TableName]| {
            tables.iter().map(|name| name.quoted()).collect::<Vec<_>>().join(", ")
        };
        let Some(publication) = publication else {
            let names: Vec<_> = tables.iter().map(|(name, ..)| name).collect();
            if names.is_empty() {
                return None;
            }
            let sql = format!(
                "create publication {} for table {} with (publish_via_partition_root = true);",
                quote_name(name),
                list(&names)
            );
            if facts.may_create && tables.iter().all(|(_, table, _)| table.ours) {
                return Some(sql);
            }
            let what = format!(
                "There is no publication `{name}`, and the role `{}` may not create it: it would \
                 have to own the tables and hold CREATE on the database.",
                facts.role
            );
            self.problem(what, ["-- as the tables' owner or a superuser:".to_owned(), sql]);
            return None;
        };
        self.published(name, publication, tables);
        let missing: Vec<&(TableName, Table, &Tracked)> = tables
            .iter()
            .filter(|(name, ..)| publication.tables.iter().all(|table| table.name != *name))
            // Without `publish_via_partition_root` the partitions are listed; that is told above.
            .filter(|(_, table, _)| !table.partitioned || publication.via_root)
            .collect();
        if missing.is_empty() {
            return None;
        }
        let names: Vec<_> = missing.iter().map(|(name, ..)| name).collect();
        let sql = format!("alter publication {} add table {};", quote_name(name), list(&names));
        if publication.ours && missing.iter().all(|(_, table, _)| table.ours) {
            return Some(sql);
        }
        let what = format!(
            "The publication `{name}` lacks tables that contracts refer to, and the role `{}` may \
             not add them.",
            facts.role
        );
        self.problem(what, ["-- as the owner of both, or a superuser:".to_owned(), sql]);
        None
    }

    /// What is published must be everything.
    fn published(
        &mut self,
        name: &str,
        publication: &Publication,
        tables: &[(TableName, Table, &Tracked)],
    ) {
        let quoted = quote_name(name);
        if !publication.all_operations {
            let what = format!("The publication `{name}` leaves some kinds of changes out.");
            let set = "set (publish = 'insert, update, delete, truncate');";
            self.problem(what, [format!("alter publication {quoted} {set}")]);
        }
        let partitioned = tables.iter().find(|(_, table, _)| table.partitioned);
        if let (Some((table, ..)), false) = (partitioned, publication.via_root) {
            let what = format!(
                "The publication `{name}` tells the changes of `{table}` under the names of its \
                 partitions."
            );
            let set = "set (publish_via_partition_root = true);";
            self.problem(what, [format!("alter publication {quoted} {set}")]);
        }
        for (table, _, tracked) in tables {
            let Some(published) = publication.tables.iter().find(|p| p.name == *table) else {
                continue;
            };
            let left_out = published.columns.as_ref().is_some_and(|columns| {
                tracked.columns.iter().any(|column| !columns.contains(column))
            });
            if published.filtered || left_out {
                let what = format!(
                    "The publication `{name}` publishes only some rows or columns of `{table}`."
                );
                let drop = format!("alter publication {quoted} drop table {};", table.quoted());
                let add = format!("alter publication {quoted} add table {};", table.quoted());
                self.problem(what, [drop, add]);
            }
        }
    }
}
