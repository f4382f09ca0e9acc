//! Creation of the change log and its triggers inside the application's database.
//!
//! The triggers run inside the application's own transactions: a rollback leaves no trace, and every
//! writer is covered, from any process and language. They use only functions that every SQLite has had
//! for ten years, since a writer without, say, JSON would otherwise see its own statements fail. They
//! also truncate the log, so that following it never writes.

use database::quoting::identifier;
use database::sqlite::driver_error;
use rusqlite::{Connection, TransactionBehavior, params};

use super::log::{self, Log, NOW_US};
use super::prepare;
use super::triggers::{Trigger, required_triggers};
use crate::error::FeedError;
use crate::table::TrackedTable;

/// Values of `op`: `I`nsert, `U`pdate, `D`elete, `T`runcate (any row may have changed), `M`essage,
/// `N`udge.
const TABLES: &str = "
create table if not exists _tidegate_meta(name text primary key, value integer not null);
create table if not exists _tidegate_changes(
  seq integer primary key autoincrement,
  at_us integer not null,
  tbl text,
  op text not null,
  old text,
  new text
);";

/// Creates or completes the log and the triggers. Writes nothing if they are complete.
///
/// `beyond`: the highest position seen before. A log that ends below it is another history (the file
/// was restored from a copy) and gets a new generation.
pub(super) fn install(
    connection: &mut Connection,
    tables: &[TrackedTable],
    keep: u32,
    beyond: u64,
) -> Result<Log, FeedError> {
    prepare::check(connection, tables)?;
    let required = required_triggers(connection, tables, keep)?;
    if let Some(log) = log::read(connection)?
        && present_triggers(connection).map_err(driver_error("reading the triggers"))? == required
        && log::end(connection).map_err(driver_error("reading the end of the change log"))?
            >= beyond
    {
        return Ok(log);
    }
    let log = write(connection, &required, beyond);
    Ok(log.map_err(driver_error("installing the change log"))?)
}

fn write(
    connection: &mut Connection,
    required: &[Trigger],
    beyond: u64,
) -> Result<Log, rusqlite::Error> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(TABLES)?;
    let created = log::generation(&transaction)?.is_none() || log::end(&transaction)? < beyond;
    if created {
        let replace = "insert or replace into _tidegate_meta values (?1, random())";
        transaction.execute(replace, ["generation"])?;
        transaction
            .execute("insert or ignore into _tidegate_meta values ('system', random())", [])?;
    }
    if log::end(&transaction)? < beyond {
        // A position is never assigned twice.
        transaction.execute("delete from _tidegate_changes", [])?;
        transaction.execute("delete from sqlite_sequence where name = '_tidegate_changes'", [])?;
        let mut sequence = transaction.prepare("insert into sqlite_sequence values (?1, ?2)")?;
        sequence.execute(params!["_tidegate_changes", beyond.cast_signed()])?;
    }
    let present = present_triggers(&transaction)?;
    for trigger in present.iter().filter(|trigger| !required.contains(trigger)) {
        transaction.execute_batch(&format!("drop trigger {}", identifier(&trigger.name)))?;
    }
    let mut uncovered: Vec<&str> = Vec::new();
    for trigger in required.iter().filter(|trigger| !present.contains(trigger)) {
        transaction.execute_batch(&trigger.sql)?;
        if !uncovered.contains(&trigger.table.as_str()) {
            uncovered.push(&trigger.table);
        }
    }
    for table in uncovered {
        // Older rows have other columns, and changes without a trigger are unknown.
        let void = "update _tidegate_changes set op = 'T', old = null, new = null where tbl = ?1";
        transaction.execute(void, [table])?;
        let append =
            format!("insert into _tidegate_changes(at_us, tbl, op) values ({NOW_US}, ?1, 'T')");
        transaction.execute(&append, [table])?;
    }
    let system = log::meta(&transaction, "system")?.unwrap_or_default();
    let generation = log::generation(&transaction)?.unwrap_or_default();
    transaction.commit()?;
    Ok(Log { system, generation, created })
}

fn present_triggers(connection: &Connection) -> rusqlite::Result<Vec<Trigger>> {
    connection
        .prepare_cached(
            "select name, tbl_name, sql from sqlite_master \
             where type = 'trigger' and name like '\\_tidegate\\_%' escape '\\' order by 1",
        )?
        .query_map([], |row| {
            Ok(Trigger { name: row.get(0)?, table: row.get(1)?, sql: row.get(2)? })
        })?
        .collect()
}
