//! The change log inside the application's database, and the triggers that write it.
//!
//! The triggers run inside the application's own transactions: what is rolled back leaves no trace,
//! and any writer is seen, from whatever process and language. They use nothing but functions that
//! every SQLite has had for ten years, since a writer without, say, JSON would otherwise see its
//! own statements fail. They also shorten the log, so that following it never writes.

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use crate::error::{FeedError, Problem, Setup};
use crate::sqlite::failed;
use crate::sqlite::triggers::{Trigger, wanted_triggers};
use crate::tracked::{Tracked, quote_name};

/// In a log row: `I`nsert, `U`pdate, `D`elete, `T`runcate (anything may have changed), `M`essage, `N`udge.
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

/// Wall time in µs. `now` has milliseconds and stands still during a statement.
pub(super) const NOW_US: &str = "cast((julianday('now') - 2440587.5) * 86400000000 as integer)";

/// What [`install`] found.
pub(super) struct Log {
    /// Drawn when the log was first made; stands for the database's identity.
    pub(super) system: u64,
    /// Drawn with each log.
    pub(super) generation: u64,
    /// The log was made, or begun anew, by this call.
    pub(super) made: bool,
}

/// Makes the log and the triggers what they should be. Writes nothing if they are already.
///
/// `beyond`: the highest position seen before. A log that ends below it is another history (the
/// file was restored from a copy) and gets a new generation.
pub(super) fn install(
    connection: &mut Connection,
    tables: &[Tracked],
    keep: u32,
    beyond: u64,
) -> Result<Log, FeedError> {
    check(connection, tables)?;
    let wanted = wanted_triggers(connection, tables, keep)?;
    if let Some(log) = read_log(connection)?
        && present_triggers(connection)? == wanted
        && log_end(connection)? >= beyond
    {
        return Ok(log);
    }
    write(connection, &wanted, beyond).map_err(failed("installing the change log"))
}

fn write(
    connection: &mut Connection,
    wanted: &[Trigger],
    beyond: u64,
) -> Result<Log, rusqlite::Error> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(TABLES)?;
    let made = generation(&transaction)?.is_none() || end(&transaction)? < beyond;
    let draw = "insert or replace into _tidegate_meta values (?1, random())";
    if made {
        transaction.execute(draw, ["generation"])?;
        transaction
            .execute("insert or ignore into _tidegate_meta values ('system', random())", [])?;
    }
    if end(&transaction)? < beyond {
        // Positions are never given out twice.
        transaction.execute("delete from _tidegate_changes", [])?;
        transaction.execute("delete from sqlite_sequence where name = '_tidegate_changes'", [])?;
        let mut mark = transaction.prepare("insert into sqlite_sequence values (?1, ?2)")?;
        mark.execute(params!["_tidegate_changes", beyond.cast_signed()])?;
    }
    let present = present(&transaction)?;
    for trigger in present.iter().filter(|trigger| !wanted.contains(trigger)) {
        transaction.execute_batch(&format!("drop trigger {}", quote_name(&trigger.name)))?;
    }
    let mut unseen: Vec<&str> = Vec::new();
    for trigger in wanted.iter().filter(|trigger| !present.contains(trigger)) {
        transaction.execute_batch(&trigger.sql)?;
        if !unseen.contains(&trigger.table.as_str()) {
            unseen.push(&trigger.table);
        }
    }
    for table in unseen {
        // Older rows have other columns, and what happened without a trigger is not known.
        let void = "update _tidegate_changes set op = 'T', old = null, new = null where tbl = ?1";
        transaction.execute(void, [table])?;
        let note =
            format!("insert into _tidegate_changes(at_us, tbl, op) values ({NOW_US}, ?1, 'T')");
        transaction.execute(&note, [table])?;
    }
    let system = meta(&transaction, "system")?.unwrap_or_default();
    let generation = generation(&transaction)?.unwrap_or_default();
    transaction.commit()?;
    Ok(Log { system, generation, made })
}

fn check(connection: &Connection, tables: &[Tracked]) -> Result<(), FeedError> {
    let mut problems = Vec::new();
    for tracked in tables {
        let columns = columns(connection, &tracked.table).map_err(failed("reading the schema"))?;
        let Some(columns) = columns else {
            let what = format!("There is no table `{}`, which contracts refer to.", tracked.table);
            let fix = format!("create table {}(…);", quote_name(&tracked.table));
            problems.push(Problem::new(what, [fix]));
            continue;
        };
        let absent = |column: &&String| !columns.iter().any(|c| c.eq_ignore_ascii_case(column));
        for column in tracked.columns.iter().filter(absent) {
            let table = &tracked.table;
            let what =
                format!("Table `{table}` has no column `{column}`, which contracts refer to.");
            let add =
                format!("alter table {} add column {} …;", quote_name(table), quote_name(column));
            problems.push(Problem::new(what, [add]));
        }
    }
    if problems.is_empty() {
        return Ok(());
    }
    let database = connection.path().unwrap_or("the SQLite database").to_owned();
    Err(Setup { database, problems }.into())
}

/// None if there is no such table (a view can't be followed).
fn columns(connection: &Connection, table: &str) -> rusqlite::Result<Option<Vec<String>>> {
    let exists = "select 1 from sqlite_master where type = 'table' and name = ?1 collate nocase";
    if connection.query_row(exists, [table], |_| Ok(())).optional()?.is_none() {
        return Ok(None);
    }
    connection
        .prepare("select name from pragma_table_xinfo(?1)")?
        .query_map([table], |row| row.get(0))?
        .collect::<Result<_, _>>()
        .map(Some)
}

fn present_triggers(connection: &Connection) -> Result<Vec<Trigger>, FeedError> {
    present(connection).map_err(failed("reading the triggers"))
}

fn present(connection: &Connection) -> rusqlite::Result<Vec<Trigger>> {
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

/// `None` if there is no log yet.
fn read_log(connection: &Connection) -> Result<Option<Log>, FeedError> {
    if !exists(connection)? {
        return Ok(None);
    }
    let read = || Ok((meta(connection, "system")?, generation(connection)?));
    match read().map_err(failed("reading the change log"))? {
        (Some(system), Some(generation)) => Ok(Some(Log { system, generation, made: false })),
        _ => Ok(None),
    }
}

fn exists(connection: &Connection) -> Result<bool, FeedError> {
    let both = "select count(*) from sqlite_master \
                where type = 'table' and name in ('_tidegate_meta', '_tidegate_changes')";
    let count: i64 =
        connection.query_row(both, [], |row| row.get(0)).map_err(failed("reading the schema"))?;
    Ok(count == 2)
}

/// Who this is, or `None` if no feed has ever been here.
pub(super) fn system(connection: &Connection) -> Result<Option<u64>, FeedError> {
    Ok(read_log(connection)?.map(|log| log.system))
}

/// The last position given out; right also when the rows are gone.
pub(super) fn log_end(connection: &Connection) -> Result<u64, FeedError> {
    end(connection).map_err(failed("reading the end of the change log"))
}

/// Asks for the end of the change log, one number; fails or answers nothing where there is none yet.
pub const LOG_END: &str = "select seq from sqlite_sequence where name = '_tidegate_changes'";

pub(super) fn end(connection: &Connection) -> rusqlite::Result<u64> {
    let mut statement = connection.prepare_cached(LOG_END)?;
    let end: Option<i64> = statement.query_row([], |row| row.get(0)).optional()?;
    Ok(end.unwrap_or_default().cast_unsigned())
}

fn generation(connection: &Connection) -> rusqlite::Result<Option<u64>> {
    meta(connection, "generation")
}

fn meta(connection: &Connection, name: &str) -> rusqlite::Result<Option<u64>> {
    let sql = "select value from _tidegate_meta where name = ?1";
    let value: Option<i64> = connection.query_row(sql, [name], |row| row.get(0)).optional()?;
    Ok(value.map(i64::cast_unsigned))
}
