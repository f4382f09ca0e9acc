//! Checks of a database before it is followed: all issues are reported at once. Nothing is altered.

use std::collections::HashMap;

use database::mariadb::{ConnectConfig, Connection, LOGGED_TEXT_TYPES};
use database::quoting::mariadb_identifier;

use super::catalog::{self, Column, Table, same_column};
use super::connection::{connect, connect_config, open_for_log};
use super::log::{self, MESSAGE_COLUMN, REQUEST_TABLE};
use super::options::MariaDbOptions;
use super::stream::{self, OpenError};
use crate::error::{FeedError, SetupError, SetupIssue};
use crate::table::{TableName, TrackedTable};
use crate::unknown_name::{missing_column, missing_table};

/// If the log is kept for a shorter time, it may be gone before a stopped node is back.
const MIN_RETENTION_S: f64 = 3_600.0;

/// Checks that the database can be followed. Returns issues that cause trouble later, with their
/// remedies.
///
/// # Errors
/// [`FeedError::Setup`] with every issue and the statements that resolve it, or
/// [`FeedError::Unavailable`].
pub async fn prepare(options: &MariaDbOptions) -> Result<Vec<SetupIssue>, FeedError> {
    let config = connect_config(&options.url);
    let connection = connect(&config).await?;
    let warnings = prepare_on(&connection, &config, options).await?;
    // The privilege to follow the log can only be checked by an attempt.
    let (_, end) = log::end(&connection).await?;
    let files = catalog::files(&connection).await?.unwrap_or_default();
    let last = files.last().map(|file| file.name.clone()).unwrap_or_default();
    match stream::open(open_for_log(&config, connection.server()).await?, &last, end).await {
        Ok(_) | Err(OpenError::PositionLost(_)) => Ok(warnings),
        Err(OpenError::AccessDenied) => Err(access_denied(&connection, &config).await?.into()),
        Err(OpenError::Failed(err)) => Err(err.into()),
    }
}

/// Returns the error for a user that lacks the privilege to follow the log.
pub(super) async fn access_denied(
    connection: &Connection,
    config: &ConnectConfig,
) -> Result<SetupError, FeedError> {
    let user = catalog::user(connection).await?;
    let description = format!("The user {user} may not follow the binary log.");
    let issues =
        vec![SetupIssue::new(description, [format!("grant replication slave on *.* to {user};")])];
    Ok(SetupError { database: config.url.name(), issues })
}

pub(super) async fn prepare_on(
    connection: &Connection,
    config: &ConnectConfig,
    options: &MariaDbOptions,
) -> Result<Vec<SetupIssue>, FeedError> {
    let mut check = Check { user: catalog::user(connection).await?, ..Check::default() };
    let settings = catalog::settings(connection).await?;
    check.server(&settings, options.relayed);
    if catalog::is_replica(connection).await? {
        check.replica(&settings);
    }
    let tables: Vec<_> = options
        .tables
        .iter()
        .map(|tracked| (TableName::parse_in(&tracked.table, config.url.database()), tracked))
        .collect();
    match catalog::filters(connection).await? {
        None => check.log_access(),
        Some(filters) => {
            let mut databases: Vec<&str> =
                tables.iter().map(|(name, _)| name.schema.as_str()).collect();
            databases.push(config.url.database());
            databases.sort_unstable();
            databases.dedup();
            for database in databases.into_iter().filter(|database| filters.exclude(database)) {
                let description = format!(
                    "The binary log leaves out the database `{database}` (`binlog_do_db`, \
                     `binlog_ignore_db`)."
                );
                let remedy = "-- remove that from the server's configuration, then restart it";
                check.issue(description, [remedy.to_owned()]);
            }
        }
    }
    for (name, tracked) in &tables {
        match catalog::table(connection, name).await? {
            Some(table) => check.table(name, tracked, &table),
            None => {
                let known = catalog::table_names(connection, config.url.database()).await?;
                check.no_table(name, tracked, &known);
            }
        }
    }
    if let Some(error) = catalog::request_table_error(connection, config.url.database()).await? {
        check.request_table(config.url.database(), &error);
    }
    if check.issues.is_empty() {
        return Ok(check.warnings);
    }
    Err(SetupError { database: config.url.name(), issues: check.issues }.into())
}

#[derive(Default)]
struct Check {
    user: String,
    issues: Vec<SetupIssue>,
    warnings: Vec<SetupIssue>,
}

impl Check {
    fn issue<const N: usize>(&mut self, description: impl Into<String>, remedy: [String; N]) {
        self.issues.push(SetupIssue::new(description, remedy));
    }

    /// `relayed`: see [`MariaDbOptions::relayed`].
    fn server(&mut self, settings: &HashMap<String, String>, relayed: bool) {
        let setting = |name: &str| settings.get(name).map_or("", String::as_str);
        if setting("log_bin") != "ON" {
            let description = "The server keeps no binary log (`log_bin`).";
            let remedy = [
                "-- in the server's configuration, then restart it:",
                "log_bin = binlog",
                "binlog_format = ROW",
                "binlog_row_metadata = FULL",
            ];
            return self.issue(description, remedy.map(str::to_owned));
        }
        for (name, expected, reason) in [
            ("binlog_format", "ROW", "the log does not always contain the changed rows"),
            (
                "binlog_row_image",
                "FULL",
                "the log does not contain all columns of the changed rows",
            ),
            ("binlog_row_metadata", "FULL", "the log does not contain the names of columns"),
            ("log_bin_compress", "OFF", "compressed events are not supported"),
        ] {
            let found = setting(name);
            if found != expected && !(relayed && name == "binlog_row_metadata") {
                let description = match found {
                    "" => format!(
                        "The server has no setting `{name}`: MariaDB 10.5 or later is needed."
                    ),
                    found => format!("`{name}` is `{found}`: {reason}."),
                };
                let remedy = [
                    format!("set global {name} = {expected}; -- and in the server's configuration"),
                    "-- open sessions keep the old value: reconnect them".to_owned(),
                ];
                self.issue(description, remedy);
            }
        }
        if setting("wsrep_on") == "ON" {
            let description = "The server is a node of a Galera cluster (`wsrep_on`): a commit on another node is \
                        acknowledged before this one shows and logs it, so no bound holds.";
            let remedy = "-- not supported: follow a server that replicates by the binary log";
            self.issue(description, [remedy.to_owned()]);
        }
        if setting("server_id") == "0" {
            let remedy = "set global server_id = 1; -- and in the server's configuration";
            self.issue("`server_id` is 0: the log can't be followed.", [remedy.to_owned()]);
        }
        let number = |name: &str| setting(name).parse::<f64>().unwrap_or(0.0);
        let kept_s = match number("binlog_expire_logs_seconds") {
            0.0 => number("expire_logs_days") * 86_400.0,
            seconds => seconds,
        };
        if kept_s > 0.0 && kept_s < MIN_RETENTION_S {
            let description = format!(
                "The binary log is kept for {kept_s} seconds: after a longer pause of all nodes, all \
                 cached entries are void."
            );
            let remedy = "set global binlog_expire_logs_seconds = 86400; -- and in the server's configuration";
            self.warnings.push(SetupIssue::new(description, [remedy.to_owned()]));
        }
    }

    /// Checks a server that receives changes from another one.
    fn replica(&mut self, settings: &HashMap<String, String>) {
        let is = |name: &str, value: &str| settings.get(name).is_some_and(|found| found == value);
        if is("read_only", "ON") {
            let description = "The server is a replica (`read_only`): applications write to another server, and \
                        the bounds of answers would leave out the time until their changes arrive here.";
            let remedy = "-- name the primary in the url of the source";
            self.issue(description, [remedy.to_owned()]);
        }
        if is("log_slave_updates", "OFF") {
            let description = "The server is a replica and does not log the changes from its primary \
                        (`log_slave_updates`).";
            let remedy =
                ["-- in the server's configuration, then restart it:", "log_slave_updates = ON"];
            self.issue(description, remedy.map(str::to_owned));
        }
    }

    fn log_access(&mut self) {
        let description =
            format!("The user {} may not read the position of the binary log.", self.user);
        let remedy = format!("grant binlog monitor, replication slave on *.* to {};", self.user);
        self.issue(description, [remedy]);
    }

    fn request_table(&mut self, database: &str, error: &str) {
        let table = format!("{}.{REQUEST_TABLE}", mariadb_identifier(database));
        let description = format!(
            "Purge requests travel through the binary log by way of the table {table}, which stays \
             empty. It is missing, or the user {} may not write to it: {error}.",
            self.user
        );
        let create = format!(
            "create table if not exists {table}(id bigint unsigned auto_increment primary key, \
             {MESSAGE_COLUMN} mediumtext character set utf8mb4 not null) engine=InnoDB;"
        );
        let grant = format!("grant select, insert, delete on {table} to {};", self.user);
        self.issue(description, [create, grant]);
    }

    /// The server does not show a table to a user that may not read it.
    fn no_table(&mut self, name: &TableName, tracked: &TrackedTable, known: &[String]) {
        let mut issue = missing_table(&tracked.table, known);
        issue.description = format!(
            "There is no table `{name}`, which contracts refer to, or the user {} may not read it.",
            self.user
        );
        let grant = format!("grant select on {} to {};", name.mariadb_quoted(), self.user);
        issue.remedy.push(format!("-- or, if the table exists: {grant}"));
        self.issues.push(issue);
    }

    fn table(&mut self, name: &TableName, tracked: &TrackedTable, table: &Table) {
        let quoted = name.mariadb_quoted();
        let grant = format!("grant select on {quoted} to {};", self.user);
        if table.engine != "InnoDB" {
            let description = format!(
                "`{name}` is not an InnoDB table ({}): its snapshots have no position in the log.",
                if table.engine.is_empty() { "a view" } else { &table.engine }
            );
            return self.issue(description, [format!("alter table {quoted} engine=InnoDB;")]);
        }
        if table.is_versioned {
            let description = format!(
                "`{name}` has system versioning: the log shows a deletion as an update of hidden columns."
            );
            self.issue(description, [format!("alter table {quoted} drop system versioning;")]);
        }
        for key in &table.cascades {
            let description = format!(
                "A foreign key changes rows of `{name}` along with those of another table, and \
                 InnoDB does not log that: {key}."
            );
            let constraint = key.split('`').nth(1).unwrap_or_default();
            let drop = format!(
                "alter table {quoted} drop foreign key {};",
                mariadb_identifier(constraint)
            );
            let again = "-- and add it again with ON DELETE RESTRICT ON UPDATE RESTRICT; delete the \
                         rows of both tables in one transaction";
            self.issue(description, [drop, again.to_owned()]);
        }
        let mut denied = false;
        for needed in &tracked.columns {
            let is_needed = |column: &&Column| same_column(&column.name, needed);
            let Some(column) = table.columns.iter().find(is_needed) else {
                let names: Vec<String> = table.columns.iter().map(|it| it.name.clone()).collect();
                self.issues.push(missing_column(&tracked.table, needed, &names));
                continue;
            };
            denied |= !column.readable;
            self.column(name, &quoted, column, tracked.old_columns.contains(needed));
        }
        if denied {
            let description = format!("The user {} may not read table `{name}`.", self.user);
            self.issue(description, [grant]);
        }
    }

    /// `in_keys_or_tags`: keys or tags contain its text.
    fn column(&mut self, table: &TableName, quoted: &str, column: &Column, in_keys_or_tags: bool) {
        let Column { name, definition, .. } = column;
        let full_type = &definition.full_type;
        if definition.is_virtual() {
            let description =
                format!("Column `{name}` of `{table}` is virtual: the log does not contain it.");
            let remedy =
                format!("alter table {quoted} modify {} … stored;", mariadb_identifier(name));
            self.issue(description, [remedy]);
        }
        if definition.is_of_old_format() {
            let description = format!("Column `{name}` of `{table}` is stored as in MariaDB 5.3.");
            self.issue(description, [format!("alter table {quoted} force;")]);
        }
        if !in_keys_or_tags {
            return;
        }
        if !definition.has_text_type() {
            let description = format!(
                "Column `{name}` of `{table}` is of type {full_type}, whose text can't be derived from \
                 the log; keys and tags may use {}.",
                LOGGED_TEXT_TYPES.join(", ")
            );
            self.issue(description, ["-- use another column for the key or tag".to_owned()]);
        }
        if definition.is_compressed() {
            let description = format!(
                "Column `{name}` of `{table}` is compressed, and so is its text in the log; keys and \
                 tags need it as it is."
            );
            let kind = full_type.split(" /*").next().unwrap_or_default();
            let remedy =
                format!("alter table {quoted} modify {} {kind} …;", mariadb_identifier(name));
            self.issue(description, [remedy]);
        }
        if !definition.is_utf8() {
            let charset = &definition.charset;
            let description = format!(
                "Column `{name}` of `{table}` is encoded in {charset}; keys and tags are UTF-8."
            );
            let remedy = format!(
                "alter table {quoted} modify {} {full_type} character set utf8mb4 …;",
                mariadb_identifier(name)
            );
            self.issue(description, [remedy]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cluster_node_and_pure_replica_refused() {
        let problems = |changed: &[(&str, &str)]| {
            let settings = [
                ("log_bin", "ON"),
                ("binlog_format", "ROW"),
                ("binlog_row_image", "FULL"),
                ("binlog_row_metadata", "FULL"),
                ("log_bin_compress", "OFF"),
                ("log_slave_updates", "ON"),
            ];
            let settings = settings.iter().chain(changed);
            let settings = settings.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            let settings: HashMap<String, String> = settings.collect();
            let mut check = Check::default();
            check.server(&settings, false);
            check.replica(&settings);
            let text = |issue: SetupIssue| issue.description;
            check.issues.into_iter().map(text).collect::<Vec<_>>().join("\n")
        };
        assert_eq!(problems(&[("wsrep_on", "OFF"), ("read_only", "OFF")]), "");
        assert!(problems(&[("wsrep_on", "ON")]).contains("Galera"));
        assert!(problems(&[("read_only", "ON")]).contains("is a replica"));
        assert!(problems(&[("log_slave_updates", "OFF")]).contains("does not log"));
    }
}
