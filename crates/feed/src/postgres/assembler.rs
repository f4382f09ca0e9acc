//! Assembly of log messages into commits.

use std::collections::HashMap;
use std::sync::Arc;

use coherence::Lsn;
use contract::{Cell, JsonForm, JsonForms, Op, Row, RowChange};

use super::options::PostgresOptions;
use super::parser::{self, Column, Field, Message, OldTuple, Relation, Tuple};
use crate::changes::{BoundedChanges, whole_table};
use crate::event::Commit;
use crate::message::LogMessage;
use crate::message_keys::MessageKeys;
use crate::metrics::Metrics;
use crate::table::TableName;

/// From 1970-01-01 to PostgreSQL's epoch 2000-01-01, in µs.
const EPOCH_US: i64 = 946_684_800_000_000;

/// Assembles the messages of one stream into commits.
pub(super) struct CommitAssembler {
    source: Arc<str>,
    /// The tracked tables and their columns.
    tables: HashMap<TableName, Vec<String>>,
    max_changes: usize,
    metrics: Metrics,
    message_keys: MessageKeys,
    /// The relations that the log has described; `None` for an untracked table.
    relations: HashMap<u32, Option<TableLayout>>,
    open: Option<OpenTransaction>,
}

/// A tracked table's columns in the log's order.
struct TableLayout {
    name: Arc<str>,
    columns: Vec<ColumnLayout>,
    forms: JsonForms,
}

struct ColumnLayout {
    name: Arc<str>,
    key: bool,
    tracked: bool,
}

/// A transaction whose commit has not arrived.
struct OpenTransaction {
    xid: u32,
    committed_us: u64,
    changes: BoundedChanges,
    oversized: bool,
    messages: Vec<LogMessage>,
    /// A message could not be parsed, so the set of changes is unknown.
    malformed: bool,
}

impl CommitAssembler {
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
            message_keys: options.message_keys.clone(),
            relations: HashMap::new(),
            open: None,
        }
    }

    /// Whether a transaction has begun and not ended.
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    pub(super) fn begin(&mut self, xid: u32, commit_time_us: i64) {
        let committed_us = u64::try_from(commit_time_us.saturating_add(EPOCH_US)).unwrap_or(0);
        self.open = Some(OpenTransaction {
            xid,
            committed_us,
            changes: BoundedChanges::default(),
            oversized: false,
            messages: Vec::new(),
            malformed: false,
        });
    }

    /// Ends the transaction. Returns the commit and its transaction id, or `None` if it changed no
    /// tracked table.
    pub(super) fn commit(&mut self, end: Lsn) -> Option<(Commit, u32)> {
        let open = self.open.take()?;
        let OpenTransaction { xid, committed_us, changes, oversized, mut messages, malformed } =
            open;
        if oversized {
            self.metrics.oversized.inc();
        }
        let mut changes = changes.into_changes(&self.source);
        if malformed {
            let tables = self.tables.keys();
            changes = tables.map(|table| whole_table(&self.source, table.to_string())).collect();
            // The malformed part may have contained a request.
            messages.push(LogMessage::unknown_changes());
        }
        if changes.is_empty() && messages.is_empty() {
            return None;
        }
        Some((Commit { lsn: end, committed_us, changes, messages }, xid))
    }

    /// Adds a logical message with Tidegate's prefix.
    pub(super) fn message(&mut self, content: &[u8]) {
        let Some(open) = &mut self.open else { return };
        let (source, metrics) = (&self.source, &self.metrics);
        let message = self.message_keys.read(content, open.committed_us, source, metrics);
        open.messages.extend(message);
    }

    /// Adds a pgoutput message. A malformed one turns its transaction into a change of everything:
    /// skipping it would lose a change, and stopping would block the feed for good.
    pub(super) fn change(&mut self, bytes: &[u8]) {
        let problem = match parser::parse(bytes) {
            Ok(Message::Relation(relation)) => return self.describe(&relation),
            Ok(Message::Truncate { relations }) => match self.truncated(&relations) {
                Some(changes) => return changes.into_iter().for_each(|change| self.add(change)),
                None => "an unknown table was truncated".to_owned(),
            },
            Ok(message) => match self.row_change(message) {
                Some(change) => return change.into_iter().for_each(|change| self.add(change)),
                None => "a row does not match its table".to_owned(),
            },
            Err(err) => err.to_string(),
        };
        self.metrics.malformed.inc();
        tracing::error!(source = %self.source, error = problem, "malformed change; everything counts as changed");
        if let Some(open) = &mut self.open {
            open.malformed = true;
        }
    }

    fn describe(&mut self, relation: &Relation<'_>) {
        let table =
            TableName { schema: relation.schema.to_owned(), table: relation.name.to_owned() };
        let layout = self.tables.get(&table).map(|tracked| TableLayout {
            name: table.to_string().into(),
            forms: {
                let known = |column: &Column<'_>| {
                    Some((column.name.to_owned(), JsonForm::of_postgres_type(column.type_oid)?))
                };
                relation.columns.iter().filter_map(known).collect()
            },
            columns: relation
                .columns
                .iter()
                .map(|column| ColumnLayout {
                    name: column.name.into(),
                    key: column.key,
                    tracked: tracked.iter().any(|name| name == column.name),
                })
                .collect(),
        });
        self.relations.insert(relation.id, layout);
    }

    /// Returns `None` if the message does not match the described table, and `Some(None)` for an
    /// untracked table.
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
            Some(OldTuple::Key(tuple)) => Some(table.row(tuple, true)?),
            Some(OldTuple::Full(tuple)) => Some(table.row(tuple, false)?),
        };
        let new = match new {
            None => None,
            Some(tuple) => Some(table.row(tuple, false)?),
        };
        let (source, forms) = (self.source.clone(), table.forms.clone());
        let table = table.name.clone();
        Some(Some(RowChange { source, table, op, old, new, forms }))
    }

    /// Returns `None` if the log has not described one of the relations.
    fn truncated(&self, relations: &[u32]) -> Option<Vec<RowChange>> {
        let mut changes = Vec::new();
        for relation in relations {
            if let Some(table) = self.relations.get(relation)? {
                changes.push(whole_table(&self.source, table.name.clone()));
            }
        }
        Some(changes)
    }

    fn add(&mut self, change: RowChange) {
        if let Some(open) = &mut self.open {
            open.oversized |= open.changes.push(change, self.max_changes);
        }
    }
}

impl TableLayout {
    fn row(&self, tuple: Tuple<'_>, only_key: bool) -> Option<Row> {
        if tuple.len() != self.columns.len() {
            return None;
        }
        let fields = self.columns.iter().zip(tuple);
        let tracked = fields.filter(|(column, _)| column.tracked && (column.key || !only_key));
        Some(tracked.map(|(column, field)| (column.name.clone(), cell(&field))).collect())
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
#[path = "assembler_tests.rs"]
mod tests;
