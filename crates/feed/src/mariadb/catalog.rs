//! What the server says about itself and the tables.

use std::collections::HashMap;

use super::server::{Control, quote_name, quote_text};
use super::transaction::{MESSAGE, ORDERS};
use crate::error::FeedError;

const DOING: &str = "reading the catalogue";

/// The server's settings by their lower-case names. Some exist only in some versions.
pub(super) async fn settings(control: &Control) -> Result<HashMap<String, String>, FeedError> {
    let sql = "select lower(variable_name), variable_value \
               from information_schema.global_variables where variable_name in \
               ('binlog_expire_logs_seconds', 'binlog_format', 'binlog_row_image', \
                'binlog_row_metadata', 'expire_logs_days', 'log_bin', 'log_bin_compress', \
                'log_slave_updates', 'server_id', 'version')";
    let rows = control.rows(DOING, sql).await?.into_iter();
    Ok(rows.filter_map(|row| <[_; 2]>::try_from(row).ok()).filter_map(pair).collect())
}

fn pair([name, value]: [Option<String>; 2]) -> Option<(String, String)> {
    Some((name?, value.unwrap_or_default()))
}

/// Whether changes come from another server, of which this one is a replica.
pub(super) async fn is_replica(control: &Control) -> Result<bool, FeedError> {
    let rows = control.rows(DOING, "show global status like 'slaves_running'").await?;
    let running = rows.first().and_then(|row| row.get(1)?.clone());
    Ok(running.is_some_and(|count| count != "0"))
}

/// Who asks, as `'name'@'host'`.
pub(super) async fn user(control: &Control) -> Result<String, FeedError> {
    let user = control.value(DOING, "select current_user()").await?;
    let (name, host) = user.rsplit_once('@').unwrap_or((&user, "%"));
    Ok(format!("'{}'@'{}'", name.replace('\'', "''"), host.replace('\'', "''")))
}

/// The files of the log, or `None` if the user may not see them.
pub(super) async fn files(control: &Control) -> Result<Option<Vec<File>>, FeedError> {
    let Some(rows) = allowed(control.rows(DOING, "show binary logs").await)? else {
        return Ok(None);
    };
    let file = |row: Vec<Option<String>>| {
        let mut cells = row.into_iter();
        let name = cells.next()??;
        Some(File { name, bytes: cells.next()??.parse().ok()? })
    };
    Ok(Some(rows.into_iter().filter_map(file).collect()))
}

/// One file of the log.
pub(super) struct File {
    pub(super) name: String,
    pub(super) bytes: u64,
}

/// Which databases are logged.
pub(super) struct Filters {
    only: Vec<String>,
    not: Vec<String>,
}

impl Filters {
    pub(super) fn leave_out(&self, database: &str) -> bool {
        let named = |list: &[String]| list.iter().any(|name| name == database);
        (!self.only.is_empty() && !named(&self.only)) || named(&self.not)
    }
}

/// `None` if the user may not know.
pub(super) async fn filters(control: &Control) -> Result<Option<Filters>, FeedError> {
    let Some(rows) = allowed(control.rows(DOING, "show master status").await)? else {
        return Ok(None);
    };
    let list = |at: usize| {
        let text = rows.first().and_then(|row| row.get(at)?.clone()).unwrap_or_default();
        text.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
    };
    Ok(Some(Filters { only: list(2), not: list(3) }))
}

/// A tracked table that can be seen.
pub(super) struct Table {
    pub(super) engine: String,
    pub(super) columns: Vec<Column>,
    /// The foreign keys by which the server changes rows without logging it.
    pub(super) cascades: Vec<String>,
}

/// One of its columns.
pub(super) struct Column {
    pub(super) name: String,
    /// `int`
    pub(super) data_type: String,
    /// `int(10) unsigned zerofill`
    pub(super) full_type: String,
    pub(super) charset: String,
    pub(super) extra: String,
    pub(super) readable: bool,
}

/// `None` if there is no such table that the user may see.
pub(super) async fn table(
    control: &Control,
    (database, name): &(String, String),
) -> Result<Option<Table>, FeedError> {
    let place = format!(
        "binary table_schema = {} and binary table_name = {}",
        quote_text(database),
        quote_text(name)
    );
    let sql = format!(
        "select coalesce(engine, '') from information_schema.tables where {place}; \
         select column_name, data_type, column_type, coalesce(character_set_name, ''), \
           coalesce(extra, ''), find_in_set('select', privileges) > 0 \
         from information_schema.columns where {place} order by ordinal_position"
    );
    let answers = control.ask(DOING, &sql).await?;
    let mut answers = answers.into_iter();
    let engine = answers.next().and_then(|rows| rows.into_iter().next()?.into_iter().next()?);
    let Some(engine) = engine else { return Ok(None) };
    let column = |row: Vec<Option<String>>| {
        let mut cells = row.into_iter().map(Option::unwrap_or_default);
        Some(Column {
            name: cells.next()?,
            data_type: cells.next()?,
            full_type: cells.next()?,
            charset: cells.next()?,
            extra: cells.next()?,
            readable: cells.next()? == "1",
        })
    };
    let columns: Vec<Column> =
        answers.next().unwrap_or_default().into_iter().filter_map(column).collect();
    let mut cascades = Vec::new();
    if columns.iter().any(|column| column.readable) {
        // The catalogue shows foreign keys only to those who may write; this shows them to all who may
        // read.
        let sql = format!("show create table {}.{}", quote_name(database), quote_name(name));
        let created = control.row(DOING, &sql).await?.into_iter().nth(1).flatten();
        cascades = self::cascades(&created.unwrap_or_default());
    }
    Ok(Some(Table { engine, columns, cascades }))
}

fn cascades(created: &str) -> Vec<String> {
    let keys = created.lines().map(|line| line.trim().trim_end_matches(','));
    let keys =
        keys.filter(|line| line.starts_with("CONSTRAINT ") && line.contains(" FOREIGN KEY "));
    let changes = |line: &&str| {
        ["ON DELETE CASCADE", "ON DELETE SET NULL", "ON UPDATE CASCADE", "ON UPDATE SET NULL"]
            .iter()
            .any(|rule| line.contains(rule))
    };
    keys.filter(changes).map(str::to_owned).collect()
}

/// What is the matter with the table for requests: nothing, or what the server says.
pub(super) async fn orders(control: &Control, database: &str) -> Result<Option<String>, FeedError> {
    let table = format!("{}.{ORDERS}", quote_name(database));
    for sql in [
        format!("explain insert into {table}({MESSAGE}) values ('')"),
        format!("explain delete from {table} where id = 0"),
    ] {
        if let Err(err) = control.run(DOING, &sql).await {
            return refusal(err, &[DENIED_TABLE, DENIED_COLUMN, NO_TABLE, NO_COLUMN]).map(Some);
        }
    }
    Ok(None)
}

const DENIED: u16 = 1227;
const DENIED_TABLE: u16 = 1142;
const DENIED_COLUMN: u16 = 1143;
const NO_TABLE: u16 = 1146;
const NO_COLUMN: u16 = 1054;

fn allowed<T>(answer: Result<T, FeedError>) -> Result<Option<T>, FeedError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(err) => refusal(err, &[DENIED]).map(|_| None),
    }
}

/// What the server said, if it is one of the codes; else the error.
fn refusal(err: FeedError, codes: &[u16]) -> Result<String, FeedError> {
    let text = err.to_string();
    let is = |code: &u16| text.contains(&format!("(error {code})"));
    if codes.iter().any(is) { Ok(text) } else { Err(err) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_keys_that_change_rows_unseen_are_found() {
        let created = "CREATE TABLE `t` (\n  `a` int(11) COMMENT 'FOREIGN KEY ON DELETE CASCADE',\n  \
            CONSTRAINT `one` FOREIGN KEY (`a`) REFERENCES `p` (`id`),\n  \
            CONSTRAINT `two` FOREIGN KEY (`a`) REFERENCES `p` (`id`) ON DELETE CASCADE,\n  \
            CONSTRAINT `three` FOREIGN KEY (`a`) REFERENCES `p` (`id`) ON UPDATE SET NULL\n) ENGINE=InnoDB";
        let found = cascades(created);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains("`two`") && found[1].contains("`three`"));
    }
}
