//! The invariants, and counts.

use rusqlite::Connection;

use super::migrate;
use super::transaction::failed;
use crate::history_query;
use crate::invariants::{self, Dialect};
use crate::ledger::{Finding, History, LedgerError, LedgerStatus};

const DIALECT: Dialect = Dialect {
    prefix: "tidegate_",
    minute_ago: "cast(unixepoch('now', 'subsec') * 1000 as integer) - 60000",
    ms: "",
    day_ago: "cast(unixepoch('now', 'subsec') * 1000 as integer) - 86400000",
};

pub(super) fn findings(connection: &Connection) -> Result<Vec<Finding>, LedgerError> {
    let mut statement = connection.prepare(&invariants::statement(&DIALECT)).map_err(failed)?;
    let rows = statement.query_map([], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?))
    });
    let rows: Vec<_> = rows.and_then(Iterator::collect).map_err(failed)?;
    let finding = |(name, subject, detail): (String, String, String)| {
        invariants::finding(&name, subject, detail).map_err(LedgerError::Unreadable)
    };
    rows.into_iter().map(finding).collect()
}

pub(super) fn history(connection: &Connection) -> Result<History, LedgerError> {
    let mut statement = connection.prepare(&history_query::statement(&DIALECT)).map_err(failed)?;
    let read = |row: &rusqlite::Row<'_>| {
        let mut texts = history_query::Row::default();
        for (at, text) in texts.iter_mut().enumerate() {
            *text = row.get(at)?;
        }
        Ok(texts)
    };
    let rows: Vec<_> = statement.query_map([], read).and_then(Iterator::collect).map_err(failed)?;
    history_query::collect(rows).map_err(LedgerError::Unreadable)
}

const STATUS: &str = "with now(ms) as (select cast(unixepoch('now', 'subsec') * 1000 as integer)), \
    due as (select expires_at from tidegate_hold, now where state = 'active' and expires_at <= now.ms) \
    select (select count(*) from tidegate_sku), \
      (select coalesce(sum(on_hand), 0) from tidegate_stock), \
      (select coalesce(sum(held), 0) from tidegate_stock), \
      (select coalesce(sum(sold), 0) from tidegate_stock), \
      (select count(*) from tidegate_hold where state = 'active'), \
      (select count(*) from due), \
      (select coalesce(now.ms - (select min(expires_at) from due), 0) from now), \
      (select count(*) from tidegate_request), \
      (select count(*) from tidegate_checkout where due_at is not null), \
      (select coalesce(now.ms - (select min(created_at) from tidegate_checkout where due_at is not null), 0) from now), \
      (select count(*) from tidegate_checkout where ordered)";

pub(super) fn status(connection: &Connection) -> Result<LedgerStatus, LedgerError> {
    let schema = migrate::version(connection)?;
    let read = |row: &rusqlite::Row<'_>| {
        Ok(LedgerStatus {
            schema,
            skus: row.get(0)?,
            on_hand: row.get(1)?,
            held: row.get(2)?,
            sold: row.get(3)?,
            active_holds: row.get(4)?,
            due_holds: row.get(5)?,
            oldest_due_ms: row.get(6)?,
            keys: row.get(7)?,
            open_checkouts: row.get(8)?,
            oldest_checkout_ms: row.get(9)?,
            orders: row.get(10)?,
        })
    };
    connection.query_row(STATUS, [], read).map_err(failed)
}
