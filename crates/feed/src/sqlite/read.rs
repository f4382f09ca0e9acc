//! From rows of the change log to commits.

use std::sync::Arc;

use coherence::{Cause, Lsn, Subject};
use contract::{Forms, Op, Row, RowChange};
use rusqlite::Connection;

use super::record;
use super::schema;
use crate::event::Commit;
use crate::message::LogMessage;
use crate::metrics::Metrics;
use crate::tracked::Tracked;

/// How many changes are read at once.
const BATCH: i64 = 4_096;

/// Turns log rows into commits.
pub(super) struct Reader {
    pub(super) source: Arc<str>,
    pub(super) tables: Vec<Tracked>,
    pub(super) metrics: Metrics,
}

/// What one look at the log gave.
pub(super) struct Read {
    /// Up to here everything is in `commits`.
    pub(super) upto: u64,
    /// In order. Changes made in one statement are one commit; a transaction's statements may be
    /// several, which are visible at the same moment all the same.
    pub(super) commits: Vec<Commit>,
    /// There may be more at once.
    pub(super) full: bool,
}

struct LogRow {
    seq: u64,
    at_us: u64,
    table: Option<String>,
    op: String,
    old: Option<String>,
    new: Option<String>,
}

impl Reader {
    /// The changes after `at`, in one snapshot.
    pub(super) fn read(&self, connection: &mut Connection, at: u64) -> rusqlite::Result<Read> {
        let transaction = connection.transaction()?;
        let rows = rows(&transaction, at)?;
        let end = schema::end(&transaction)?;
        drop(transaction);
        let full = i64::try_from(rows.len()) == Ok(BATCH);
        let mut read = Read { upto: at, commits: Vec::new(), full };
        for row in rows {
            if row.seq > read.upto + 1 {
                self.gap(&mut read, row.seq - 1, row.at_us);
            }
            self.add(&mut read, row);
        }
        if !full && end > read.upto {
            self.gap(&mut read, end, 0);
        }
        // Nudges, and rows of tables that are no longer tracked.
        read.commits.retain(|commit| !commit.changes.is_empty() || !commit.messages.is_empty());
        Ok(read)
    }

    /// What was in the log up to `upto` is gone: anything may have happened.
    fn gap(&self, read: &mut Read, upto: u64, at_us: u64) {
        tracing::warn!(
            source = %self.source, after = read.upto, upto,
            "changes were dropped from the change log before they were read; everything counts as changed"
        );
        self.metrics.oversized.inc();
        let mut commit = empty(upto, at_us);
        commit.changes = self.tables.iter().map(|tracked| self.truncate(&tracked.table)).collect();
        // Requests may have been among what is gone.
        commit.messages.push(LogMessage {
            id: String::new(),
            cause: Cause::Commit,
            subjects: vec![Subject::Everything],
        });
        read.commits.push(commit);
        read.upto = upto;
    }

    fn add(&self, read: &mut Read, row: LogRow) {
        let seq = row.seq;
        if read.commits.last().is_none_or(|commit| commit.committed_us != row.at_us) {
            read.commits.push(empty(seq, row.at_us));
        }
        let commit = read.commits.last_mut().expect("one was pushed if there was none");
        commit.lsn = Lsn(seq);
        read.upto = seq;
        if row.op == "M" {
            match LogMessage::from_json(row.new.unwrap_or_default().as_bytes()) {
                Ok(message) => commit.messages.push(message),
                Err(err) => self.malformed(seq, &err),
            }
        } else {
            commit.changes.extend(self.change(row));
        }
    }

    /// `None` for a table that is no longer tracked.
    fn change(&self, row: LogRow) -> Option<RowChange> {
        let table = row.table?;
        let tracked = self.tables.iter().find(|tracked| tracked.table == table)?;
        let parse = |text: &Option<String>| match text {
            Some(text) => record::parse(text, &tracked.columns).map(Some),
            None => Some(None),
        };
        let op = match row.op.as_str() {
            "I" => Op::Insert,
            "U" => Op::Update,
            "D" => Op::Delete,
            _ => return Some(self.truncate(&table)),
        };
        let images: Option<(Option<Row>, Option<Row>)> = parse(&row.old).zip(parse(&row.new));
        let Some((old, new)) = images else {
            self.malformed(row.seq, &"a row is not what the trigger writes");
            return Some(self.truncate(&table));
        };
        Some(RowChange {
            source: self.source.clone(),
            table: table.into(),
            op,
            old,
            new,
            forms: Forms::default(),
        })
    }

    fn truncate(&self, table: &str) -> RowChange {
        let (source, table) = (self.source.clone(), table.into());
        RowChange { source, table, op: Op::Truncate, old: None, new: None, forms: Forms::default() }
    }

    fn malformed(&self, seq: u64, err: &dyn std::fmt::Display) {
        self.metrics.malformed.inc();
        tracing::warn!(source = %self.source, position = seq, error = %err, "unreadable log row");
    }
}

fn empty(lsn: u64, committed_us: u64) -> Commit {
    Commit { lsn: Lsn(lsn), committed_us, changes: Vec::new(), messages: Vec::new() }
}

fn rows(connection: &Connection, after: u64) -> rusqlite::Result<Vec<LogRow>> {
    connection
        .prepare_cached(
            "select seq, at_us, tbl, op, old, new from _tidegate_changes \
             where seq > ?1 order by seq limit ?2",
        )?
        .query_map([after.cast_signed(), BATCH], |row| {
            Ok(LogRow {
                seq: row.get::<_, i64>(0)?.cast_unsigned(),
                at_us: row.get::<_, i64>(1)?.cast_unsigned(),
                table: row.get(2)?,
                op: row.get(3)?,
                old: text(row, 4)?,
                new: text(row, 5)?,
            })
        })?
        .collect()
}

/// SQLite does not check that text is UTF-8. What is not becomes U+FFFD, also in the key that a
/// reader would have to ask for.
fn text(row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<Option<String>> {
    let value = row.get_ref(at)?;
    Ok(value.as_bytes_or_null()?.map(|bytes| String::from_utf8_lossy(bytes).into_owned()))
}
