//! Creation of the change log and its triggers inside the application's database.
//!
//! The triggers run inside the application's own transactions: a rollback leaves no trace, and every
//! writer is covered, from any process and language. They use only functions that every SQLite has had
//! for ten years, since a writer without, say, JSON would otherwise see its own statements fail. They
//! also truncate the log, so that following it never writes.

use database::quoting::identifier;
use database::sqlite::driver_error;
use rusqlite::{Connection, TransactionBehavior, params};

use super::lineage::LogPoint;
use super::log::{self, Log, NOW_US};
use super::prepare;
use super::schema::{Schema, Trigger, present_triggers};
use super::triggers::{TableTriggers, required_triggers};
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
/// `read`: the last change that was read before. A log that does not continue its history (the file was
/// restored from a copy) gets a new generation.
pub(super) fn install(
    connection: &mut Connection,
    tables: &[TrackedTable],
    keep: u32,
    read: LogPoint,
) -> Result<Log, FeedError> {
    prepare::check(connection, tables)?;
    let required = required_triggers(connection, tables, keep)?;
    if let Some(log) = log::read(connection)? {
        let complete = is_complete(connection, &required, read);
        if complete.map_err(driver_error("reading the change log"))? {
            return Ok(log);
        }
    }
    let log = write(connection, &required, read);
    Ok(log.map_err(driver_error("installing the change log"))?)
}

/// Whether the log contains every change since `read`, and will contain every later one.
fn is_complete(
    connection: &Connection,
    required: &[TableTriggers<'_>],
    read: LogPoint,
) -> rusqlite::Result<bool> {
    let mut expected: Vec<&Trigger> = required.iter().flat_map(|table| &table.triggers).collect();
    expected.sort();
    Ok(expected.into_iter().eq(&present_triggers(connection)?)
        && Schema::checked(connection)? == Some(Schema::current(connection)?)
        && read.is_in(connection)?)
}

fn write(
    connection: &mut Connection,
    required: &[TableTriggers<'_>],
    read: LogPoint,
) -> Result<Log, rusqlite::Error> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Before the statements below change it.
    let schema = Schema::current(&transaction)?;
    transaction.execute_batch(TABLES)?;
    let schema_changed = Schema::checked(&transaction)? != Some(schema);
    let created = log::generation(&transaction)?.is_none() || !read.is_in(&transaction)?;
    if created {
        reset_log(&transaction, read.seq.max(log::end(&transaction)?))?;
    }
    let present = present_triggers(&transaction)?;
    let is_required = |trigger: &Trigger| required.iter().any(|t| t.triggers.contains(trigger));
    for trigger in present.iter().filter(|trigger| !is_required(trigger)) {
        transaction.execute_batch(&format!("drop trigger {}", identifier(&trigger.name)))?;
    }
    for TableTriggers { table, triggers } in required {
        let missing: Vec<_> =
            triggers.iter().filter(|trigger| !present.contains(trigger)).collect();
        for trigger in &missing {
            transaction.execute_batch(&trigger.sql)?;
        }
        if !missing.is_empty() {
            // Older rows have other columns.
            let void =
                "update _tidegate_changes set op = 'T', old = null, new = null where tbl = ?1";
            transaction.execute(void, [table])?;
        }
        // Changes without the triggers are unknown. Under another schema than the checked one, they may have
        // been dropped and created again.
        if !missing.is_empty() || schema_changed {
            let append =
                format!("insert into _tidegate_changes(at_us, tbl, op) values ({NOW_US}, ?1, 'T')");
            transaction.execute(&append, [table])?;
        }
    }
    Schema::current(&transaction)?.store(&transaction)?;
    let system = log::meta(&transaction, "system")?.unwrap_or_default();
    let generation = log::generation(&transaction)?.unwrap_or_default();
    transaction.commit()?;
    Ok(Log { system, generation, created })
}

/// Begins a new generation after `beyond`: a position is never assigned twice.
fn reset_log(connection: &Connection, beyond: u64) -> rusqlite::Result<()> {
    let replace = "insert or replace into _tidegate_meta values ('generation', random())";
    connection.execute(replace, [])?;
    let keep = "insert or ignore into _tidegate_meta values ('system', random())";
    connection.execute(keep, [])?;
    connection.execute("delete from _tidegate_changes", [])?;
    connection.execute("delete from sqlite_sequence where name = '_tidegate_changes'", [])?;
    let mut sequence = connection.prepare("insert into sqlite_sequence values (?1, ?2)")?;
    sequence.execute(params!["_tidegate_changes", beyond.cast_signed()])?;
    Ok(())
}
