//! Assembly of the change log's rows into commits.

use std::sync::Arc;

use coherence::Lsn;
use contract::{JsonForms, Op, RowChange};
use rusqlite::Connection;

use super::lineage::LogPoint;
use super::log;
use super::row::{Encoding, RowFormat};
use crate::changes::whole_table;
use crate::event::Commit;
use crate::message::LogMessage;
use crate::message_keys::MessageKeys;
use crate::metrics::Metrics;
use crate::table::TrackedTable;

/// Rows per read.
const BATCH_ROWS: i64 = 4_096;

/// Reads log rows and assembles commits.
pub(super) struct LogReader {
    pub(super) source: Arc<str>,
    pub(super) tables: Vec<TrackedTable>,
    pub(super) metrics: Metrics,
    pub(super) message_keys: MessageKeys,
    pub(super) encoding: Encoding,
}

/// The result of one read.
pub(super) struct LogRead {
    /// `commits` contains every change up to here.
    pub(super) upto: LogPoint,
    /// In order. The changes of one statement are one commit; the statements of a transaction may be
    /// several commits, which become visible at the same time all the same.
    pub(super) commits: Vec<Commit>,
    /// There may be more rows.
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

impl LogReader {
    /// Reads the changes after `from` in one snapshot. Returns `None` if the log does not continue the history
    /// that was read up to `from`.
    pub(super) fn read(
        &self,
        connection: &mut Connection,
        from: LogPoint,
    ) -> rusqlite::Result<Option<LogRead>> {
        let transaction = connection.transaction()?;
        if !from.is_in(&transaction)? {
            return Ok(None);
        }
        let rows = rows(&transaction, from.seq)?;
        let end = log::end(&transaction)?;
        drop(transaction);
        let full = i64::try_from(rows.len()) == Ok(BATCH_ROWS);
        let mut read = LogRead { upto: from, commits: Vec::new(), full };
        for row in rows {
            if row.seq > read.upto.seq + 1 {
                self.add_gap(&mut read, row.seq - 1, row.at_us);
            }
            self.add(&mut read, row);
        }
        if !full && end > read.upto.seq {
            self.add_gap(&mut read, end, 0);
        }
        // Empty commits come from nudges, and from rows of tables that are no longer tracked.
        read.commits.retain(|commit| !commit.changes.is_empty() || !commit.messages.is_empty());
        Ok(Some(read))
    }

    /// Adds a change of everything, because the rows up to `upto` are gone.
    fn add_gap(&self, read: &mut LogRead, upto: u64, at_us: u64) {
        tracing::warn!(
            source = %self.source, after = read.upto.seq, upto,
            "changes were deleted from the change log before they were read; everything counts as changed"
        );
        self.metrics.oversized.inc();
        let mut commit = empty_commit(upto, at_us);
        commit.changes =
            self.tables.iter().map(|tracked| self.whole_table(&tracked.table)).collect();
        // The missing rows may have contained requests.
        commit.messages.push(LogMessage::unknown_changes());
        read.commits.push(commit);
        read.upto = LogPoint::at(upto);
    }

    fn add(&self, read: &mut LogRead, row: LogRow) {
        let seq = row.seq;
        if read.commits.last().is_none_or(|commit| commit.committed_us != row.at_us) {
            read.commits.push(empty_commit(seq, row.at_us));
        }
        let commit = read.commits.last_mut().expect("a commit was pushed if there was none");
        commit.lsn = Lsn(seq);
        read.upto = LogPoint { seq, at_us: Some(row.at_us) };
        if row.op == "M" {
            let text = row.new.unwrap_or_default();
            let (source, metrics) = (&self.source, &self.metrics);
            let message = self.message_keys.read(text.as_bytes(), row.at_us, source, metrics);
            commit.messages.extend(message);
        } else {
            commit.changes.extend(self.change(row));
        }
    }

    /// Returns `None` for a table that is no longer tracked.
    fn change(&self, row: LogRow) -> Option<RowChange> {
        let table = row.table?;
        let tracked = self.tables.iter().find(|tracked| tracked.table == table)?;
        let op = match row.op.as_str() {
            "I" => Op::Insert,
            "U" => Op::Update,
            "D" => Op::Delete,
            _ => return Some(self.whole_table(&table)),
        };
        let format = RowFormat { columns: &tracked.columns, encoding: self.encoding };
        let Some((old, new)) = format.images(row.old.as_deref(), row.new.as_deref()) else {
            self.count_malformed(
                row.seq,
                &"the row does not have the form that the triggers write",
            );
            return Some(self.whole_table(&table));
        };
        Some(RowChange {
            source: self.source.clone(),
            table: table.into(),
            op,
            old,
            new,
            forms: JsonForms::default(),
        })
    }

    fn whole_table(&self, table: &str) -> RowChange {
        whole_table(&self.source, table)
    }

    fn count_malformed(&self, seq: u64, err: &dyn std::fmt::Display) {
        self.metrics.malformed.inc();
        tracing::warn!(source = %self.source, position = seq, error = %err, "malformed log row");
    }
}

fn empty_commit(lsn: u64, committed_us: u64) -> Commit {
    Commit { lsn: Lsn(lsn), committed_us, changes: Vec::new(), messages: Vec::new() }
}

fn rows(connection: &Connection, after: u64) -> rusqlite::Result<Vec<LogRow>> {
    connection
        .prepare_cached(
            "select seq, at_us, tbl, op, old, new from _tidegate_changes \
             where seq > ?1 order by seq limit ?2",
        )?
        .query_map([after.cast_signed(), BATCH_ROWS], |row| {
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

/// SQLite does not check that text is UTF-8. Invalid bytes become U+FFFD, also in the key that a
/// reader would have to use.
fn text(row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<Option<String>> {
    let value = row.get_ref(at)?;
    Ok(value.as_bytes_or_null()?.map(|bytes| String::from_utf8_lossy(bytes).into_owned()))
}
