//! The triggers' text.

use rusqlite::Connection;

use super::schema::NOW_US;
use crate::error::FeedError;
use crate::sqlite::failed;
use crate::tracked::{Tracked, quote_name, quote_text};

/// A trigger as `sqlite_master` has it.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Trigger {
    pub(super) name: String,
    pub(super) table: String,
    pub(super) sql: String,
}

/// All that the tracked tables need, in order.
pub(super) fn wanted_triggers(
    connection: &Connection,
    tables: &[Tracked],
    keep: u32,
) -> Result<Vec<Trigger>, FeedError> {
    let mut triggers = Vec::new();
    for tracked in tables {
        let unique =
            unique_sets(connection, &tracked.table).map_err(failed("reading the indexes"))?;
        triggers.extend(triggers_of(tracked, &unique, keep));
    }
    triggers.sort();
    Ok(triggers)
}

fn triggers_of(tracked: &Tracked, unique: &[Vec<String>], keep: u32) -> Vec<Trigger> {
    let table = &tracked.table;
    let (on, name) = (quote_name(table), quote_text(table));
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
        .map(|column| quote_name(column))
        .map(|column| format!("quote(OLD.{column}) is not quote(NEW.{column})"))
        .collect::<Vec<_>>();
    // Without columns nobody can say that nothing has changed.
    let changed = if differs.is_empty() { "1".to_owned() } else { differs.join(" or ") };
    let trigger = |suffix: &str, when: &str, body: String| {
        let name = format!("_tidegate_{table}_{suffix}");
        let sql = format!("CREATE TRIGGER {} {when} begin {body} end", quote_name(&name));
        Trigger { name, table: table.clone(), sql }
    };
    let mut all = vec![
        trigger("insert", &format!("after insert on {on}"), log("I", "null", &new)),
        trigger("update", &format!("after update on {on} when {changed}"), log("U", &old, &new)),
        trigger("delete", &format!("after delete on {on}"), log("D", &old, "null")),
    ];
    // `insert or replace` and `update or replace` remove the rows in their way without firing
    // delete triggers (unless the writer asked for `recursive_triggers`), so these are looked up
    // beforehand. A row that is told as deleted but was only in the way costs one refill.
    let replaced = |clash: Vec<String>| {
        format!(
            "insert into _tidegate_changes(at_us, tbl, op, old) select {NOW_US}, {name}, 'D', {} \
             from {on} as victim where {};",
            record("victim", &tracked.columns),
            clash.join(" or ")
        )
    };
    let taken = |set: &Vec<String>| {
        let equal = |c: &String| format!("victim.{0} = NEW.{0}", quote_name(c));
        set.iter().map(equal).collect::<Vec<_>>().join(" and ")
    };
    let moved = |set: &Vec<String>| {
        let differs = |c: &String| format!("OLD.{0} is not NEW.{0}", quote_name(c));
        let differs = set.iter().map(differs).collect::<Vec<_>>().join(" or ");
        format!("({} and ({differs}))", taken(set))
    };
    if !unique.is_empty() {
        let insert = unique.iter().map(|set| format!("({})", taken(set))).collect();
        let update = unique.iter().map(moved).collect();
        let set = format!("before insert on {on}");
        all.push(trigger("insert_over", &set, replaced(insert)));
        let set = format!("before update on {on}");
        all.push(trigger("update_over", &set, replaced(update)));
    }
    all
}

/// `'a','b',NULL`: the columns' text forms as SQL literals, which every SQLite can write.
fn record(row: &str, columns: &[String]) -> String {
    if columns.is_empty() {
        return "''".to_owned();
    }
    columns
        .iter()
        .map(|column| format!("quote(cast({row}.{} as text))", quote_name(column)))
        .collect::<Vec<_>>()
        .join(" || ',' || ")
}

/// The sets of columns that must be unique in a table.
fn unique_sets(connection: &Connection, table: &str) -> rusqlite::Result<Vec<Vec<String>>> {
    let mut sets = Vec::new();
    let mut primary: Vec<(i64, String)> = connection
        .prepare("select pk, name from pragma_table_info(?1) where pk > 0")?
        .query_map([table], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    primary.sort();
    sets.push(primary.into_iter().map(|(_, name)| name).collect::<Vec<_>>());
    let indexes: Vec<String> = connection
        .prepare("select name from pragma_index_list(?1) where \"unique\" = 1 and origin <> 'pk'")?
        .query_map([table], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for index in indexes {
        let columns: Vec<Option<String>> = connection
            .prepare("select name from pragma_index_info(?1) order by seqno")?
            .query_map([index], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        // A part that is an expression has no name; the columns around it alone would be a wider
        // net, which is safe.
        sets.push(columns.into_iter().flatten().collect());
    }
    sets.retain(|set| !set.is_empty());
    sets.dedup();
    Ok(sets)
}
