//! The SQL of the triggers.

use database::quoting::{identifier, literal};
use database::sqlite::driver_error;
use rusqlite::Connection;

use super::catalog;
use super::log::NOW_US;
use crate::error::FeedError;
use crate::table::TrackedTable;

/// A trigger as in `sqlite_master`.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Trigger {
    pub(super) name: String,
    pub(super) table: String,
    pub(super) sql: String,
}

/// Returns all triggers that the tracked tables require, sorted.
pub(super) fn required_triggers(
    connection: &Connection,
    tables: &[TrackedTable],
    keep: u32,
) -> Result<Vec<Trigger>, FeedError> {
    let mut triggers = Vec::new();
    for tracked in tables {
        let unique = catalog::unique_sets(connection, &tracked.table)
            .map_err(driver_error("reading the indexes"))?;
        triggers.extend(triggers_of(tracked, &unique, keep));
    }
    triggers.sort();
    Ok(triggers)
}

fn triggers_of(tracked: &TrackedTable, unique: &[Vec<String>], keep: u32) -> Vec<Trigger> {
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
    let differs = tracked
        .columns
        .iter()
        .map(|column| identifier(column))
        .map(|column| format!("quote(OLD.{column}) is not quote(NEW.{column})"))
        .collect::<Vec<_>>();
    // Without columns every update counts as a change.
    let changed = if differs.is_empty() { "1".to_owned() } else { differs.join(" or ") };
    let trigger = |suffix: &str, when: &str, body: String| {
        let name = format!("_tidegate_{table}_{suffix}");
        let sql = format!("CREATE TRIGGER {} {when} begin {body} end", identifier(&name));
        Trigger { name, table: table.clone(), sql }
    };
    let mut all = vec![
        trigger("insert", &format!("after insert on {on}"), log("I", "null", &new)),
        trigger("update", &format!("after update on {on} when {changed}"), log("U", &old, &new)),
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
    let conflicts = |set: &Vec<String>| {
        let equal = |c: &String| format!("victim.{0} = NEW.{0}", identifier(c));
        set.iter().map(equal).collect::<Vec<_>>().join(" and ")
    };
    let conflicts_after_update = |set: &Vec<String>| {
        let differs = |c: &String| format!("OLD.{0} is not NEW.{0}", identifier(c));
        let differs = set.iter().map(differs).collect::<Vec<_>>().join(" or ");
        format!("({} and ({differs}))", conflicts(set))
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

/// Returns an expression for `'a','b',NULL`: the columns' text forms as SQL literals, which every
/// SQLite can write.
fn record(row: &str, columns: &[String]) -> String {
    if columns.is_empty() {
        return "''".to_owned();
    }
    columns
        .iter()
        .map(|column| format!("quote(cast({row}.{} as text))", identifier(column)))
        .collect::<Vec<_>>()
        .join(" || ',' || ")
}
