//! From log messages to commits.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use coherence::{Cause, Lsn, Subject};
use contract::{Cell, Forms, JsonForm, Op, Row, RowChange};

use super::options::PostgresOptions;
use super::pgoutput::{self, Column, Field, Message, Old, Relation, Tuple};
use crate::event::Commit;
use crate::message::LogMessage;
use crate::metrics::Metrics;
use crate::tracked::TableName;

/// Between PostgreSQL's 2000-01-01 and 1970-01-01, in µs.
const EPOCH_US: i64 = 946_684_800_000_000;

/// Collects the messages of one stream into commits.
pub(super) struct Assembler {
    source: Arc<str>,
    tables: HashMap<TableName, Vec<String>>,
    max_changes: usize,
    metrics: Metrics,
    /// As the log described them; `None` for a table that nobody tracks.
    relations: HashMap<u32, Option<Described>>,
    open: Option<Open>,
}

/// A tracked table as the log described it.
struct Described {
    name: Arc<str>,
    columns: Vec<DescribedColumn>,
    forms: Forms,
}

struct DescribedColumn {
    name: Arc<str>,
    key: bool,
    wanted: bool,
}

/// A transaction whose commit has not arrived.
struct Open {
    xid: u32,
    committed_us: u64,
    changes: Vec<RowChange>,
    /// Tables of which everything counts as changed; set when there is too much to list.
    whole: BTreeSet<Arc<str>>,
    messages: Vec<LogMessage>,
    /// Something could not be read, so nobody knows what changed.
    unreadable: bool,
}

impl Assembler {
    pub(super) fn new(options: &PostgresOptions) -> Self {
        let tables = options
            .tables
            .iter()
            .map(|tracked| (TableName::parse(&tracked.table), tracked.columns.clone()))
            .collect();
        Self {
            source: options.source.clone(),
            tables,
            max_changes: options.max_changes,
            metrics: options.metrics.clone(),
            relations: HashMap::new(),
            open: None,
        }
    }

    /// Whether a transaction has begun and not ended: then only what came before it is complete.
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    pub(super) fn begin(&mut self, xid: u32, commit_time_us: i64) {
        let committed_us = u64::try_from(commit_time_us.saturating_add(EPOCH_US)).unwrap_or(0);
        self.open = Some(Open {
            xid,
            committed_us,
            changes: Vec::new(),
            whole: BTreeSet::new(),
            messages: Vec::new(),
            unreadable: false,
        });
    }

    /// The commit and its transaction's id; `None` if it concerns nobody.
    pub(super) fn commit(&mut self, end: Lsn) -> Option<(Commit, u32)> {
        let mut open = self.open.take()?;
        if !open.whole.is_empty() {
            self.metrics.oversized.inc();
            open.changes = open.whole.iter().map(|table| self.truncate(table.clone())).collect();
        }
        if open.unreadable {
            open.changes =
                self.tables.keys().map(|table| self.truncate(table.to_string().into())).collect();
            // A request may have been in what could not be read.
            open.messages.push(LogMessage {
                id: String::new(),
                cause: Cause::Commit,
                subjects: vec![Subject::Everything],
            });
        }
        if open.changes.is_empty() && open.messages.is_empty() {
            return None;
        }
        let Open { xid, committed_us, changes, messages, .. } = open;
        Some((Commit { lsn: end, committed_us, changes, messages }, xid))
    }

    /// A request, or a stranger's text under our prefix.
    pub(super) fn message(&mut self, content: &[u8]) {
        let Some(open) = &mut self.open else { return };
        match LogMessage::from_json(content) {
            Ok(message) => open.messages.push(message),
            Err(err) => {
                self.metrics.malformed.inc();
                tracing::warn!(source = %self.source, error = %err, "unreadable log message skipped");
            }
        }
    }

    /// A pgoutput message. One that can't be read turns its transaction into "everything changed":
    /// to skip it would be to lose a change, to stop would be to stop for good.
    pub(super) fn change(&mut self, bytes: &[u8]) {
        let problem = match pgoutput::parse(bytes) {
            Ok(Message::Relation(relation)) => return self.describe(&relation),
            Ok(Message::Truncate { relations }) => match self.truncated(&relations) {
                Some(changes) => return changes.into_iter().for_each(|change| self.add(change)),
                None => "an unknown table was emptied".to_owned(),
            },
            Ok(message) => match self.row_change(message) {
                Some(change) => return change.into_iter().for_each(|change| self.add(change)),
                None => "a row does not fit its table".to_owned(),
            },
            Err(err) => err.to_string(),
        };
        self.metrics.malformed.inc();
        tracing::error!(source = %self.source, error = problem, "unreadable change; everything counts as changed");
        if let Some(open) = &mut self.open {
            open.unreadable = true;
        }
    }

    fn describe(&mut self, relation: &Relation<'_>) {
        let table =
            TableName { schema: relation.schema.to_owned(), table: relation.name.to_owned() };
        let described = self.tables.get(&table).map(|wanted| Described {
            name: table.to_string().into(),
            forms: {
                let known = |column: &Column<'_>| {
                    Some((column.name.to_owned(), json_form(column.type_oid)?))
                };
                relation.columns.iter().filter_map(known).collect()
            },
            columns: relation
                .columns
                .iter()
                .map(|column| DescribedColumn {
                    name: column.name.into(),
                    key: column.key,
                    wanted: wanted.iter().any(|name| name == column.name),
                })
                .collect(),
        });
        self.relations.insert(relation.id, described);
    }

    /// `None` if the message does not fit what the log said of its table; no change if nobody tracks
    /// that.
    fn row_change(&self, message: Message<'_>) -> Option<Option<RowChange>> {
        let (relation, op, old, new) = match message {
            Message::Insert { relation, new } => (relation, Op::Insert, None, Some(new)),
            Message::Update { relation, old, new } => (relation, Op::Update, old, Some(new)),
            Message::Delete { relation, old } => (relation, Op::Delete, Some(old), None),
            Message::Truncate { .. } | Message::Relation(_) | Message::Other => return Some(None),
        };
        let Some(table) = self.relations.get(&relation)? else { return Some(None) };
        let old = match old {
            None => None,
            Some(Old::Key(tuple)) => Some(table.row(tuple, true)?),
            Some(Old::Full(tuple)) => Some(table.row(tuple, false)?),
        };
        let new = match new {
            None => None,
            Some(tuple) => Some(table.row(tuple, false)?),
        };
        let (source, forms) = (self.source.clone(), table.forms.clone());
        let table = table.name.clone();
        Some(Some(RowChange { source, table, op, old, new, forms }))
    }

    /// `None` if the log has not described one of them.
    fn truncated(&self, relations: &[u32]) -> Option<Vec<RowChange>> {
        let mut changes = Vec::new();
        for relation in relations {
            if let Some(table) = self.relations.get(relation)? {
                changes.push(self.truncate(table.name.clone()));
            }
        }
        Some(changes)
    }

    fn add(&mut self, change: RowChange) {
        let Some(open) = &mut self.open else { return };
        if open.whole.is_empty() && open.changes.len() < self.max_changes {
            open.changes.push(change);
            return;
        }
        let listed = std::mem::take(&mut open.changes);
        open.whole.extend(listed.into_iter().chain([change]).map(|change| change.table));
    }

    fn truncate(&self, table: Arc<str>) -> RowChange {
        let source = self.source.clone();
        RowChange { source, table, op: Op::Truncate, old: None, new: None, forms: Forms::default() }
    }
}

impl Described {
    fn row(&self, tuple: Tuple<'_>, only_key: bool) -> Option<Row> {
        if tuple.len() != self.columns.len() {
            return None;
        }
        let known = self.columns.iter().zip(tuple);
        let wanted = known.filter(|(column, _)| column.wanted && (column.key || !only_key));
        Some(wanted.map(|(column, field)| (column.name.clone(), cell(&field))).collect())
    }
}

/// How PostgreSQL's `to_json` writes a value of a built-in type, where that is its text form. Not
/// among them: those whose text depends on settings (times, floating point numbers).
fn json_form(type_oid: u32) -> Option<JsonForm> {
    const BOOL: u32 = 16;
    const NUMBERS: [u32; 4] = [20, 21, 23, 1700]; // bigint, smallint, integer, numeric
    const TEXTS: [u32; 4] = [25, 1042, 1043, 2950]; // text, character, varchar, uuid
    const JSONS: [u32; 2] = [114, 3802]; // json, jsonb
    match type_oid {
        BOOL => Some(JsonForm::Boolean),
        oid if NUMBERS.contains(&oid) => Some(JsonForm::Number),
        oid if TEXTS.contains(&oid) => Some(JsonForm::Text),
        oid if JSONS.contains(&oid) => Some(JsonForm::Json),
        _ => None,
    }
}

fn cell(field: &Field<'_>) -> Cell {
    match field {
        Field::Null => Cell::Null,
        Field::Unchanged => Cell::Unchanged,
        // Not UTF-8 only in a database with the encoding SQL_ASCII.
        Field::Text(bytes) => Cell::Text(String::from_utf8_lossy(bytes).into_owned()),
    }
}

#[cfg(test)]
#[path = "transaction_tests.rs"]
mod tests;
