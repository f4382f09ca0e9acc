//! The SQL of the triggers.

use database::quoting::{identifier, literal};
use database::sqlite::driver_error;
use rusqlite::Connection;

use super::catalog;
use super::log::NOW_US;
use super::schema::Trigger;
use super::unique::{Term, UniqueSet, unique_sets};
use crate::error::FeedError;
use crate::table::TrackedTable;

/// The triggers that a tracked table requires.
pub(super) struct TableTriggers<'a> {
    pub(super) table: &'a str,
    pub(super) triggers: Vec<Trigger>,
}

/// Returns all triggers that the tracked tables require. The tables must have been
/// [checked](super::prepare::check).
pub(super) fn required_triggers<'a>(
    connection: &Connection,
    tables: &'a [TrackedTable],
    keep: u32,
) -> Result<Vec<TableTriggers<'a>>, FeedError> {
    let triggers_of = |tracked: &'a TrackedTable| {
        let unique = match catalog::table(connection, &tracked.table)? {
            Some(table) => unique_sets(connection, &tracked.table, &table)?.unwrap_or_default(),
            None => Vec::new(),
        };
        let triggers = triggers_of(tracked, &unique, keep);
        Ok(TableTriggers { table: &tracked.table, triggers })
    };
    let required: rusqlite::Result<_> = tables.iter().map(triggers_of).collect();
    Ok(required.map_err(driver_error("reading the indexes"))?)
}

fn triggers_of(tracked: &TrackedTable, unique: &[UniqueSet], keep: u32) -> Vec<Trigger> {
    let table = &tracked.table;
    let (on, name) = (identifier(table), literal(table));
    let (old, new) = (record("OLD", &tracked.columns), record("NEW", &tracked.columns));
    let log = |op: &str, old: &str, new: &str| {
        format!(
            "insert into _tidegate_changes(at_us, tbl, op, old, new) \
             values ({NOW_US}, {name}, '{op}', {old}, {new}); \
             delete from _tidegate_changes where seq <= last_insert_rowid() - {keep};"
        )
    };
    let trigger = |suffix: &str, when: &str, body: String| {
        let name = format!("_tidegate_{table}_{suffix}");
        let sql = format!("CREATE TRIGGER {} {when} begin {body} end", identifier(&name));
        Trigger { name, sql }
    };
    let changed = changed_condition(tracked);
    let mut all = vec![
        trigger("insert", &format!("after insert on {on}"), log("I", "null", &new)),
        trigger("update", &format!("after update on {on}{changed}"), log("U", &old, &new)),
        trigger("delete", &format!("after delete on {on}"), log("D", &old, "null")),
    ];
    // `insert or replace` and `update or replace` delete conflicting rows without firing delete
    // triggers (unless the writer sets `recursive_triggers`), so a trigger logs these rows
    // beforehand. If a logged row is not deleted in the end, that costs one refill.
    let log_conflicts = |conditions: Vec<String>| {
        format!(
            "insert into _tidegate_changes(at_us, tbl, op, old) select {NOW_US}, {name}, 'D', {} \
             from {on} as victim where {};",
            record("victim", &tracked.columns),
            conditions.join(" or ")
        )
    };
    let conflicts = |set: &UniqueSet| {
        set.iter().map(|term| term.conflicts_with("NEW")).collect::<Vec<_>>().join(" and ")
    };
    let conflicts_after_update = |set: &UniqueSet| {
        let changes = set.iter().map(Term::changes).collect::<Vec<_>>().join(" or ");
        format!("({} and ({changes}))", conflicts(set))
    };
    if !unique.is_empty() {
        let insert = unique.iter().map(|set| format!("({})", conflicts(set))).collect();
        let update = unique.iter().map(conflicts_after_update).collect();
        let set = format!("before insert on {on}");
        all.push(trigger("insert_over", &set, log_conflicts(insert)));
        let set = format!("before update on {on}");
        all.push(trigger("update_over", &set, log_conflicts(update)));
    }
    all
}

/// Returns the condition under which an update is logged, with its keyword; empty if each one is.
fn changed_condition(tracked: &TrackedTable) -> String {
    if tracked.every_column || tracked.columns.is_empty() {
        return String::new();
    }
    // Values that compare as equal may differ: by the column's collation, or as `1` and `1.0`.
    let differs = tracked.columns.iter().map(|column| identifier(column)).map(|column| {
        format!(
            "OLD.{column} is not NEW.{column} collate binary \
             or typeof(OLD.{column}) <> typeof(NEW.{column})"
        )
    });
    format!(" when {}", differs.collect::<Vec<_>>().join(" or "))
}

/// Returns an expression for `1,'b',NULL`: the columns' values as SQL literals, which every SQLite can
/// write. `quote` ends a text at its first NUL, so such a text is written as the bytes of its encoding:
/// `TX'610062'`.
fn record(row: &str, columns: &[String]) -> String {
    if columns.is_empty() {
        return "''".to_owned();
    }
    let literal = |column: &String| {
        let value = format!("{row}.{}", identifier(column));
        format!(
            "case when typeof({value}) = 'text' and instr(cast({value} as blob), x'00') > 0 \
             then 'T' || quote(cast({value} as blob)) else quote({value}) end"
        )
    };
    columns.iter().map(literal).collect::<Vec<_>>().join(" || ',' || ")
}
