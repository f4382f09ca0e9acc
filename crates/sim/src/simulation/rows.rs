//! A commit of the virtual database as the log carries it: changed rows, and log messages.

use std::sync::{Arc, LazyLock};

use coherence::Cause;
use contract::{Cell as Column, JsonForm, JsonForms, Op, Row, RowChange};
use feed::LogMessage;

use super::commits::{Cell, Commit};
use super::contracts::{self, GROUPS, SOURCE};
use super::database::Database;
use super::environment::{Environment, WALL_US};
use super::setup::{COLD, EVERYTHING};

static NAME: LazyLock<Arc<str>> = LazyLock::new(|| SOURCE.into());
static FORMS: LazyLock<JsonForms> =
    LazyLock::new(|| [("version".to_owned(), JsonForm::Number)].into());

/// Returns a commit as the feed delivers it.
pub(super) fn feed_commit(env: &Environment, db: &Database, number: usize) -> feed::Commit {
    let commit = &db.commits[number];
    let mut messages: Vec<LogMessage> = commit.message.iter().cloned().collect();
    let mut changes = Vec::new();
    if is_told_by_wildcards(number, commit) {
        let subjects = commit.cells.iter().map(|(cell, _)| contracts::wildcard(*cell)).collect();
        messages.push(LogMessage { id: String::new(), cause: Cause::Application, subjects });
    } else {
        for (cell, present) in &commit.cells {
            match *cell {
                EVERYTHING => messages.push(LogMessage::everything("")),
                cell => changes.push(change(env, db, number, cell, *present)),
            }
        }
    }
    let committed_us = WALL_US.saturating_add_unsigned(commit.at / 1_000).unsigned_abs();
    feed::Commit { lsn: commit.lsn, committed_us, changes, messages }
}

/// Returns whether the transaction changed only tables without contracts and sent wildcards for the
/// dependent entries. Rows of contracts with a filter are always named.
fn is_told_by_wildcards(number: usize, commit: &Commit) -> bool {
    let named = |(cell, _): &(Cell, bool)| contracts::is_filtered(*cell);
    number % 8 == 7 && !commit.cells.is_empty() && !commit.cells.iter().any(named)
}

/// Returns the change of one cell. One new row in five lacks its value, as an out-of-line column does.
fn change(env: &Environment, db: &Database, number: usize, cell: Cell, present: bool) -> RowChange {
    let id = || ("id", Column::Text(cell.to_string()));
    let table = if cell > COLD { GROUPS } else { contracts::table(cell) };
    let change = |op, old, new| RowChange {
        source: Arc::clone(&NAME),
        table: table.into(),
        op,
        old,
        new,
        forms: Arc::clone(&FORMS),
    };
    if !present {
        return change(Op::Delete, Some(Row::from_iter([id()])), None);
    }
    let mut row = Row::from_iter([id()]);
    if env.chance(0.8) {
        row.push("version", Column::Text(number.to_string()));
    }
    let op = if db.was_present(cell, number) { Op::Update } else { Op::Insert };
    change(op, None, Some(row))
}
