//! Checks of a database before it is followed: all issues are reported at once, and repaired where
//! the role allows it.

use std::collections::BTreeSet;

use database::postgres::{ConnectConfig, Connection};
use database::quoting::identifier;

use super::catalog::{self, Publication, STORED_COLUMNS_VERSION, ServerInfo, Table};
use super::check::Check;
use super::check_rows::{self, ComputedColumns};
use super::check_server::MIN_VERSION;
use super::connection::{connect, connect_config};
use super::options::PostgresOptions;
use super::slot::{self, SlotState};
use crate::error::{FeedError, SetupError, SetupIssue};
use crate::table::{TableName, TrackedTable};
use crate::unknown_name::{missing_column, missing_table};

/// The result of [`prepare`].
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Prepared {
    /// Issues that do not keep the database from being followed, but cause trouble later.
    pub warnings: Vec<SetupIssue>,
    /// The statements that were run on the database, for display.
    pub done: Vec<String>,
    /// The statements that a start would run, and a check does not.
    pub planned: Vec<String>,
}

/// Checks that the database can be followed, and creates or completes the publication. The slot is
/// created by the feed that leads first.
///
/// # Errors
/// [`FeedError::Setup`] with every issue and the statements that resolve it, or
/// [`FeedError::Unavailable`].
pub async fn prepare(options: &PostgresOptions) -> Result<Prepared, FeedError> {
    let config = connect_config(&options.url);
    let connection = connect(&config).await?;
    prepare_on(&connection, &config, options).await
}

/// Checks as [`prepare`] does, and alters nothing.
///
/// # Errors
/// As [`prepare`].
pub async fn check(options: &PostgresOptions) -> Result<Prepared, FeedError> {
    let config = connect_config(&options.url);
    let connection = connect(&config).await?;
    let (warnings, plan) = examine(&connection, &config, options).await?;
    Ok(Prepared { warnings, planned: plan.into_iter().collect(), ..Prepared::default() })
}

pub(super) async fn prepare_on(
    connection: &Connection,
    config: &ConnectConfig,
    options: &PostgresOptions,
) -> Result<Prepared, FeedError> {
    let (warnings, plan) = examine(connection, config, options).await?;
    let mut done = Vec::new();
    if let Some(sql) = plan {
        match connection.run(&sql).await {
            Ok(()) => {
                tracing::info!(source = %options.source, sql, "changed the publication");
                done.push(sql);
            }
            // Another node may have run it at the same time.
            Err(err) if examine(connection, config, options).await?.1.is_some() => {
                return Err(err.into());
            }
            Err(_) => {}
        }
    }
    Ok(Prepared { warnings, done, ..Prepared::default() })
}

/// Returns warnings, and the statement that is still to be run.
async fn examine(
    connection: &Connection,
    config: &ConnectConfig,
    options: &PostgresOptions,
) -> Result<(Vec<SetupIssue>, Option<String>), FeedError> {
    let server = catalog::server_info(connection).await?;
    let mut check = Check::default();
    check.server(&server);
    if connection.session().pooled {
        let description =
            "A connection pooler is in front of the server, and does not pass on the log.";
        check.issue(description, ["-- use the address of PostgreSQL itself in `url`".to_owned()]);
    }
    match slot::state(connection, config, &options.slot).await {
        Ok(SlotState::Missing) => check.free_slot(&server),
        Ok(_) => {}
        Err(FeedError::Setup(setup)) => check.issues.extend(setup.issues),
        Err(err) => return Err(err),
    }
    let mut tables = Vec::new();
    for tracked in &options.tables {
        let name = TableName::parse(&tracked.table);
        let table = catalog::table(connection, &name).await?;
        check.table(connection, &name, tracked, table.as_ref()).await?;
        check.readable(&server.role, &name, tracked, table.as_ref());
        tables.extend(table.map(|table| (name, table, tracked)));
    }
    let publication =
        catalog::publication(connection, &options.publication, server.version).await?;
    let plan = check.publication(&options.publication, publication.as_ref(), &tables, &server);
    if check.issues.is_empty() {
        return Ok((check.warnings, plan));
    }
    Err(SetupError { database: config.url.name(), issues: check.issues }.into())
}

/// Checks a database whose log another program reads, through the named publication. Nothing is
/// altered, and the server's settings are left to the other reader. Returns warnings.
pub(super) async fn check_relayed(
    connection: &Connection,
    config: &ConnectConfig,
    options: &PostgresOptions,
) -> Result<Vec<SetupIssue>, FeedError> {
    let server = catalog::server_info(connection).await?;
    let mut check = Check::default();
    if server.version < MIN_VERSION {
        check.unsupported_version(server.version);
    }
    let publication =
        catalog::publication(connection, &options.publication, server.version).await?;
    let mut tables = Vec::new();
    for tracked in &options.tables {
        let name = TableName::parse(&tracked.table);
        let table = catalog::table(connection, &name).await?;
        check.table(connection, &name, tracked, table.as_ref()).await?;
        check.readable(&server.role, &name, tracked, table.as_ref());
        tables.extend(table.map(|table| (name, table, tracked)));
    }
    if let Some(publication) = &publication {
        check.published(&options.publication, publication, &tables, server.version);
    }
    if !check.issues.is_empty() {
        return Err(SetupError { database: config.url.name(), issues: check.issues }.into());
    }
    Ok(check.warnings)
}

/// Checks that the publication contains every table, so that all changes are delivered from now on.
pub(super) async fn check_published(
    connection: &Connection,
    options: &PostgresOptions,
) -> Result<(), FeedError> {
    const OPERATION: &str = "reading the publication";
    let name = &options.publication;
    let version = catalog::server_info(connection).await?.version;
    let Some(publication) = catalog::publication(connection, name, version).await? else {
        let description =
            format!("there is no publication `{name}`; Debezium creates it when it starts");
        return Err(FeedError::unavailable(OPERATION, description));
    };
    for tracked in &options.tables {
        let table = TableName::parse(&tracked.table);
        if publication.tables.iter().all(|published| published.name != table) {
            let description =
                format!("the publication `{name}` lacks `{table}`: its changes are not published");
            return Err(FeedError::unavailable(OPERATION, description));
        }
    }
    Ok(())
}

impl Check {
    async fn table(
        &mut self,
        connection: &Connection,
        name: &TableName,
        tracked: &TrackedTable,
        table: Option<&Table>,
    ) -> Result<(), FeedError> {
        match table {
            Some(table) => self.existing_table(name, tracked, table),
            None => {
                let known = catalog::table_names(connection).await?;
                self.issues.push(missing_table(&tracked.table, &known));
            }
        }
        Ok(())
    }

    fn existing_table(&mut self, name: &TableName, tracked: &TrackedTable, table: &Table) {
        if !table.ordinary {
            let description = format!("`{name}` is not a table; only tables can be followed.");
            return self.issue(description, ["-- use its base table in the contract".to_owned()]);
        }
        self.issues.extend(check_rows::issues(name, tracked, table));
        let absent: BTreeSet<&String> = tracked
            .columns
            .iter()
            .chain(&tracked.old_columns)
            .filter(|column| !table.columns.contains(column))
            .collect();
        for column in absent {
            self.issues.push(missing_column(&tracked.table, column, &table.columns));
        }
        if table.identity.is_empty() && table.deferrable_key {
            let description = format!(
                "The primary key of table `{name}` is deferrable, and PostgreSQL takes no deferrable key as \
                 replica identity: once the table is published, every UPDATE and DELETE on it is rejected, \
                 also the application's."
            );
            let remedy = [
                format!("alter table {} replica identity full;", name.quoted()),
                "-- or: make the key not deferrable, or name another unique index as replica identity"
                    .to_owned(),
            ];
            return self.issue(description, remedy);
        }
        if table.identity.is_empty() {
            let description = format!(
                "Table `{name}` has no primary key and no replica identity: once it is published, \
                 PostgreSQL rejects every UPDATE and DELETE on it, also the application's."
            );
            let remedy = [
                format!("alter table {} add primary key (…);", name.quoted()),
                format!("-- or: alter table {} replica identity full;", name.quoted()),
            ];
            return self.issue(description, remedy);
        }
        self.old_columns(name, tracked, table);
    }

    /// Checks that the role may read the columns: origins mostly read them over the same URL.
    fn readable(
        &mut self,
        role: &str,
        name: &TableName,
        tracked: &TrackedTable,
        table: Option<&Table>,
    ) {
        let Some(table) = table else { return };
        let role_name = identifier(role);
        if !table.may_use_schema {
            let description =
                format!("The role `{role}` may not use the schema `{}`.", name.schema);
            let schema = identifier(&name.schema);
            self.issue(description, [format!("grant usage on schema {schema} to {role_name};")]);
        }
        let hidden =
            |column: &&String| table.columns.contains(column) && !table.readable.contains(column);
        if tracked.columns.iter().any(|column| hidden(&column)) {
            let description = format!("The role `{role}` may not read table `{name}`.");
            self.issue(description, [format!("grant select on {} to {role_name};", name.quoted())]);
        }
    }

    fn old_columns(&mut self, name: &TableName, tracked: &TrackedTable, table: &Table) {
        let is_key = |column: &&String| tracked.key_columns.contains(column);
        let others: Vec<String> =
            tracked.old_columns.iter().filter(|column| !is_key(column)).cloned().collect();
        let Some(missing) = check_rows::outside_identity(&others, table) else { return };
        let description = format!(
            "Updates and deletes on `{name}` do not log the old value of {missing}: entries and tags of the \
             old value can't be found and stay until their budget has passed."
        );
        let remedy = [format!("alter table {} replica identity full;", name.quoted())];
        self.warnings.push(SetupIssue::new(description, remedy));
    }

    /// Returns the statement that completes the publication, if one is needed and the role may run
    /// it.
    fn publication(
        &mut self,
        name: &str,
        publication: Option<&Publication>,
        tables: &[(TableName, Table, &TrackedTable)],
        server: &ServerInfo,
    ) -> Option<String> {
        let list = |tables: &[&TableName]| {
            tables.iter().map(|name| name.quoted()).collect::<Vec<_>>().join(", ")
        };
        let Some(publication) = publication else {
            let stored = server.version >= STORED_COLUMNS_VERSION
                && tables
                    .iter()
                    .any(|(_, table, tracked)| check_rows::needs_stored_columns(table, tracked));
            for (table, details, tracked) in tables {
                let computed = ComputedColumns::of_new(details, stored, server.version);
                self.issues.extend(computed.issues(name, table, tracked));
            }
            let names: Vec<_> = tables.iter().map(|(name, ..)| name).collect();
            if names.is_empty() {
                return None;
            }
            let stored = if stored { ", publish_generated_columns = stored" } else { "" };
            let sql = format!(
                "create publication {} for table {} with (publish_via_partition_root = true{stored});",
                identifier(name),
                list(&names)
            );
            if server.may_create && tables.iter().all(|(_, table, _)| table.owned) {
                return Some(sql);
            }
            let description = format!(
                "There is no publication `{name}`, and the role `{}` may not create it: it would \
                 have to own the tables and hold CREATE on the database.",
                server.role
            );
            self.issue(description, ["-- as the tables' owner or a superuser:".to_owned(), sql]);
            return None;
        };
        self.published(name, publication, tables, server.version);
        let missing: Vec<&(TableName, Table, &TrackedTable)> = tables
            .iter()
            .filter(|(name, ..)| publication.tables.iter().all(|table| table.name != *name))
            // Without `publish_via_partition_root` the partitions are listed; that is reported above.
            .filter(|(_, table, _)| !table.partitioned || publication.via_root)
            .filter(|(name, table, _)| {
                check_rows::hidden_by_root(name, table, &publication.tables).is_none()
            })
            .collect();
        if missing.is_empty() {
            return None;
        }
        let names: Vec<_> = missing.iter().map(|(name, ..)| name).collect();
        let sql = format!("alter publication {} add table {};", identifier(name), list(&names));
        if publication.owned && missing.iter().all(|(_, table, _)| table.owned) {
            return Some(sql);
        }
        let description = format!(
            "The publication `{name}` lacks tables that contracts refer to, and the role `{}` may \
             not add them.",
            server.role
        );
        self.issue(description, ["-- as the owner of both, or a superuser:".to_owned(), sql]);
        None
    }

    /// Checks that the publication leaves nothing of the tables out.
    fn published(
        &mut self,
        name: &str,
        publication: &Publication,
        tables: &[(TableName, Table, &TrackedTable)],
        version: i32,
    ) {
        let quoted = identifier(name);
        if !publication.all_operations {
            let description = format!("The publication `{name}` leaves out some kinds of changes.");
            let set = "set (publish = 'insert, update, delete, truncate');";
            self.issue(description, [format!("alter publication {quoted} {set}")]);
        }
        let partitioned = tables.iter().find(|(_, table, _)| table.partitioned);
        if let (Some((table, ..)), false) = (partitioned, publication.via_root) {
            let description = format!(
                "The publication `{name}` publishes the changes of `{table}` under the names of its \
                 partitions."
            );
            let set = "set (publish_via_partition_root = true);";
            self.issue(description, [format!("alter publication {quoted} {set}")]);
        }
        for (table, details, tracked) in tables {
            let published = publication.tables.iter().find(|p| p.name == *table);
            let computed = ComputedColumns::of(publication, details, published, version);
            self.issues.extend(computed.issues(name, table, tracked));
            let Some(published) = published else {
                let hidden = check_rows::hidden_by_root(table, details, &publication.tables);
                self.issues.extend(hidden);
                continue;
            };
            // The computed ones are checked above.
            let left_out = published.columns.as_ref().is_some_and(|columns| {
                let missing = |column: &&String| !columns.contains(column);
                tracked.columns.iter().filter(missing).any(|c| !details.generated.contains(c))
            });
            if published.filtered || left_out {
                let description = format!(
                    "The publication `{name}` publishes only some rows or columns of `{table}`."
                );
                let drop = format!("alter publication {quoted} drop table {};", table.quoted());
                let add = format!("alter publication {quoted} add table {};", table.quoted());
                self.issue(description, [drop, add]);
            }
        }
    }
}
