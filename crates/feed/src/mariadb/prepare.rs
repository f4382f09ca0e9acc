//! What a database needs before it can be followed: checked all at once. Nothing is changed.

use std::collections::HashMap;

use super::catalog::{self, Table};
use super::options::MariaDbOptions;
use super::server::{Control, Server, quote_name};
use super::stream::{self, Refused};
use super::transaction::{MESSAGE, ORDERS, split};
use crate::error::{FeedError, Problem, Setup};
use crate::tracked::Tracked;

/// Shorter than this, the log may be gone before a node that was away is back.
const SHORT_S: f64 = 3_600.0;

/// Types whose values the log holds in a form from which the database's own text can be made.
const TOLD: [&str; 14] = [
    "tinyint",
    "smallint",
    "mediumint",
    "int",
    "bigint",
    "decimal",
    "char",
    "varchar",
    "tinytext",
    "text",
    "mediumtext",
    "longtext",
    "date",
    "year",
];

/// Character sets whose bytes are UTF-8.
const UTF8: [&str; 5] = ["", "utf8mb4", "utf8mb3", "utf8", "ascii"];

/// Checks that the database can be followed. Answers what works but will hurt one day, and what to
/// run against it.
///
/// # Errors
/// [`FeedError::Setup`] with everything that is missing and what a database administrator has to
/// run, or [`FeedError::Unavailable`].
pub async fn prepare(options: &MariaDbOptions) -> Result<Vec<Problem>, FeedError> {
    let server = Server::parse(&options.url)?;
    let control = server.connect().await?;
    let warnings = prepare_on(&control, &server, options).await?;
    // Whether the user may follow the log can only be tried.
    let (_, end) = control.end().await?;
    let files = catalog::files(&control).await?.unwrap_or_default();
    let last = files.last().map(|file| file.name.clone()).unwrap_or_default();
    match stream::open(server.connection().await?, &last, end).await {
        Ok(_) | Err(Refused::Gone(_)) => Ok(warnings),
        Err(Refused::Forbidden) => Err(may_not_follow(&control, &server).await?.into()),
        Err(Refused::Failed(err)) => Err(err),
    }
}

/// What to say when the user may not follow the log.
pub(super) async fn may_not_follow(control: &Control, server: &Server) -> Result<Setup, FeedError> {
    let user = catalog::user(control).await?;
    let what = format!("The user {user} may not follow the binary log.");
    let problems = vec![Problem::new(what, [format!("grant replication slave on *.* to {user};")])];
    Ok(Setup { database: server.name(), problems })
}

pub(super) async fn prepare_on(
    control: &Control,
    server: &Server,
    options: &MariaDbOptions,
) -> Result<Vec<Problem>, FeedError> {
    let mut check = Check { user: catalog::user(control).await?, ..Check::default() };
    let settings = catalog::settings(control).await?;
    check.server(&settings);
    if settings.get("log_slave_updates").is_some_and(|value| value == "OFF")
        && catalog::is_replica(control).await?
    {
        let what = "The server is a replica and does not log what it gets from its primary \
                    (`log_slave_updates`).";
        let fix = ["-- in the server's configuration, then restart it:", "log_slave_updates = ON"];
        check.problem(what, fix.map(str::to_owned));
    }
    let tables: Vec<_> = options
        .tables
        .iter()
        .map(|tracked| (split(&tracked.table, server.database()), tracked))
        .collect();
    match catalog::filters(control).await? {
        None => check.may_not_look(),
        Some(filters) => {
            let mut databases: Vec<&str> = tables.iter().map(|((of, _), _)| of.as_str()).collect();
            databases.push(server.database());
            databases.sort_unstable();
            databases.dedup();
            for database in databases.into_iter().filter(|database| filters.leave_out(database)) {
                let what = format!(
                    "The binary log leaves the database `{database}` out (`binlog_do_db`, \
                     `binlog_ignore_db`)."
                );
                let fix = "-- remove that from the server's configuration, then restart it";
                check.problem(what, [fix.to_owned()]);
            }
        }
    }
    for (name, tracked) in &tables {
        let table = catalog::table(control, name).await?;
        check.table(name, tracked, table.as_ref());
    }
    if let Some(said) = catalog::orders(control, server.database()).await? {
        check.orders(server.database(), &said);
    }
    if check.problems.is_empty() {
        return Ok(check.warnings);
    }
    Err(Setup { database: server.name(), problems: check.problems }.into())
}

#[derive(Default)]
struct Check {
    user: String,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl Check {
    fn problem<const N: usize>(&mut self, what: impl Into<String>, fix: [String; N]) {
        self.problems.push(Problem::new(what, fix));
    }

    fn server(&mut self, settings: &HashMap<String, String>) {
        let setting = |name: &str| settings.get(name).map_or("", String::as_str);
        if setting("log_bin") != "ON" {
            let what = "The server keeps no binary log (`log_bin`).";
            let fix = [
                "-- in the server's configuration, then restart it:",
                "log_bin = binlog",
                "binlog_format = ROW",
                "binlog_row_metadata = FULL",
            ];
            return self.problem(what, fix.map(str::to_owned));
        }
        for (name, wanted, why) in [
            ("binlog_format", "ROW", "the log does not always hold the rows that were changed"),
            ("binlog_row_image", "FULL", "the log does not hold all of the rows that were changed"),
            ("binlog_row_metadata", "FULL", "the log does not hold the names of columns"),
            ("log_bin_compress", "OFF", "compressed events are not read"),
        ] {
            let found = setting(name);
            if found != wanted {
                let what = match found {
                    "" => format!(
                        "The server has no setting `{name}`: MariaDB 10.5 or later is needed."
                    ),
                    found => format!("`{name}` is `{found}`: {why}."),
                };
                let fix = [
                    format!("set global {name} = {wanted}; -- and in the server's configuration"),
                    "-- sessions that are open keep what they have: let them connect again"
                        .to_owned(),
                ];
                self.problem(what, fix);
            }
        }
        if setting("server_id") == "0" {
            let fix = "set global server_id = 1; -- and in the server's configuration";
            self.problem("`server_id` is 0: nobody can follow the log.", [fix.to_owned()]);
        }
        let number = |name: &str| setting(name).parse::<f64>().unwrap_or(0.0);
        let kept_s = match number("binlog_expire_logs_seconds") {
            0.0 => number("expire_logs_days") * 86_400.0,
            seconds => seconds,
        };
        if kept_s > 0.0 && kept_s < SHORT_S {
            let what = format!(
                "The binary log is kept for {kept_s} seconds: after a longer pause of all nodes, what \
                 was cached is void."
            );
            let fix = "set global binlog_expire_logs_seconds = 86400; -- and in the server's configuration";
            self.warnings.push(Problem::new(what, [fix.to_owned()]));
        }
    }

    fn may_not_look(&mut self) {
        let what = format!("The user {} may not see where the binary log stands.", self.user);
        let fix = format!("grant binlog monitor, replication slave on *.* to {};", self.user);
        self.problem(what, [fix]);
    }

    fn orders(&mut self, database: &str, said: &str) {
        let table = format!("{}.{ORDERS}", quote_name(database));
        let what = format!(
            "Purges travel through the binary log by way of the table {table}, which stays empty. It \
             is not there, or the user {} may not write to it: {said}.",
            self.user
        );
        let create = format!(
            "create table if not exists {table}(id bigint unsigned auto_increment primary key, \
             {MESSAGE} mediumtext character set utf8mb4 not null) engine=InnoDB;"
        );
        let grant = format!("grant select, insert, delete on {table} to {};", self.user);
        self.problem(what, [create, grant]);
    }

    fn table(&mut self, name: &(String, String), tracked: &Tracked, table: Option<&Table>) {
        let (shown, quoted) = (
            format!("{}.{}", name.0, name.1),
            format!("{}.{}", quote_name(&name.0), quote_name(&name.1)),
        );
        let grant = format!("grant select on {quoted} to {};", self.user);
        let Some(table) = table else {
            let what = format!(
                "There is no table `{shown}`, which contracts refer to, or the user {} may not read it.",
                self.user
            );
            return self.problem(what, [format!("create table {quoted}(…);"), grant]);
        };
        if table.engine != "InnoDB" {
            let what = format!(
                "`{shown}` is no InnoDB table ({}): what readers of it see has no position in the log.",
                if table.engine.is_empty() { "a view" } else { &table.engine }
            );
            return self.problem(what, [format!("alter table {quoted} engine=InnoDB;")]);
        }
        for key in &table.cascades {
            let what = format!(
                "A foreign key changes rows of `{shown}` along with those of another table, and \
                 InnoDB does not log that: {key}."
            );
            let constraint = key.split('`').nth(1).unwrap_or_default();
            let drop = format!("alter table {quoted} drop foreign key {};", quote_name(constraint));
            let again = "-- and add it again with ON DELETE RESTRICT ON UPDATE RESTRICT; delete the \
                         rows of both tables in one transaction";
            self.problem(what, [drop, again.to_owned()]);
        }
        let mut denied = false;
        for wanted in &tracked.columns {
            let Some(column) = table.columns.iter().find(|column| column.name == *wanted) else {
                let what =
                    format!("Table `{shown}` has no column `{wanted}`, which contracts refer to.");
                let add = format!("alter table {quoted} add column {} …;", quote_name(wanted));
                self.problem(what, [add]);
                continue;
            };
            denied |= !column.readable;
            self.column(&shown, &quoted, column, tracked.old_columns.contains(wanted));
        }
        if denied {
            let what = format!("The user {} may not read table `{shown}`.", self.user);
            self.problem(what, [grant]);
        }
    }

    /// `named`: its text stands in keys or tags.
    fn column(&mut self, table: &str, quoted: &str, column: &catalog::Column, named: bool) {
        let catalog::Column { name, data_type, full_type, charset, extra, .. } = column;
        if extra.to_ascii_uppercase().contains("VIRTUAL") {
            let what =
                format!("Column `{name}` of `{table}` is virtual: the log does not hold it.");
            let fix = format!("alter table {quoted} modify {} … stored;", quote_name(name));
            self.problem(what, [fix]);
        }
        if full_type.contains("mariadb-5.3") {
            let what = format!("Column `{name}` of `{table}` is stored as in MariaDB 5.3.");
            self.problem(what, [format!("alter table {quoted} force;")]);
        }
        if !named {
            return;
        }
        if !TOLD.contains(&data_type.as_str()) || full_type.contains("zerofill") {
            let what = format!(
                "Column `{name}` of `{table}` is of type {full_type}, whose text can't be told from \
                 the log; keys and tags can be made of {}.",
                TOLD.join(", ")
            );
            self.problem(what, ["-- make the key or tag of another column".to_owned()]);
        }
        if !UTF8.contains(&charset.as_str()) {
            let what = format!(
                "Column `{name}` of `{table}` is written in {charset}; keys and tags are read as UTF-8."
            );
            let fix = format!(
                "alter table {quoted} modify {} {full_type} character set utf8mb4 …;",
                quote_name(name)
            );
            self.problem(what, [fix]);
        }
    }
}
