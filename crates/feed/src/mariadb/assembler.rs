//! Assembly of events into commits.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use coherence::Lsn;
use contract::{Cell, Op, Row, RowChange};

use super::layout::{TableLayout, TableRole};
use super::log::{BEAT_PREFIX, MESSAGE_COLUMN, REQUEST_TABLE};
use super::options::MariaDbOptions;
use super::parser::{Event, QUERY, RawEvent, Rows, TableMap};
use super::statement::{StatementEffect, effect_of};
use crate::changes::whole_table;
use crate::event::Commit;
use crate::message::LogMessage;
use crate::message_keys::MessageKeys;
use crate::metrics::Metrics;
use crate::table::TableName;

/// Prepared transactions that are kept until their commit. Beyond it, a commit counts as a change of
/// everything.
const MAX_PREPARED: usize = 1_000;

/// Assembles the events of one stream into commits.
pub(super) struct CommitAssembler {
    source: Arc<str>,
    tables: Vec<Tracked>,
    /// The names of `tables`, in the same order.
    names: Vec<TableName>,
    request_table: TableName,
    request_columns: [Arc<str>; 1],
    max_changes: usize,
    metrics: Metrics,
    message_keys: MessageKeys,
    /// The start of the last event's statement, in seconds since 1970.
    timestamp: u32,
    /// The tables of the current group, by their number in it; `None` for an untracked table.
    layouts: HashMap<u64, Option<TableLayout>>,
    /// The changes of prepared transactions, by XA name.
    prepared: HashMap<String, Vec<RowChange>>,
    open: Option<OpenGroup>,
    has_altered_table: bool,
}

/// A tracked table.
struct Tracked {
    /// The table as written in the contracts.
    name: Arc<str>,
    /// The columns whose values every row has to have.
    columns: Vec<Arc<str>>,
    /// Further columns, which renewed values are made of. A row may lack them.
    renewed: Vec<Arc<str>>,
}

/// A group of events whose end has not arrived.
#[derive(Default)]
struct OpenGroup {
    standalone: bool,
    changes: Vec<RowChange>,
    /// The indexes of tables that count as wholly changed.
    whole_tables: BTreeSet<usize>,
    messages: Vec<LogMessage>,
    /// The XA name under which the group is prepared.
    xa_name: Option<String>,
    /// The set of changes is unknown.
    unknown: bool,
}

/// The state of the group after an event.
#[derive(Debug)]
pub(super) enum GroupState {
    /// It continues.
    Open,
    /// Everything before the event's end is complete; a commit, if the group changed a tracked table.
    Ended(Option<Commit>),
}

impl CommitAssembler {
    /// `database`: the database in the URL.
    pub(super) fn new(options: &MariaDbOptions, database: &str) -> Self {
        let tables = options.tables.iter();
        Self {
            source: options.source.clone(),
            names: tables
                .clone()
                .map(|tracked| TableName::parse_in(&tracked.table, database))
                .collect(),
            tables: tables
                .map(|tracked| Tracked {
                    name: tracked.table.as_str().into(),
                    columns: shared(&tracked.columns),
                    renewed: options
                        .renewed
                        .get(&tracked.table)
                        .map_or_else(Vec::new, |it| shared(it)),
                })
                .collect(),
            request_table: TableName {
                schema: database.to_owned(),
                table: REQUEST_TABLE.to_owned(),
            },
            request_columns: [MESSAGE_COLUMN.into()],
            max_changes: options.max_changes,
            metrics: options.metrics.clone(),
            message_keys: options.message_keys.clone(),
            timestamp: 0,
            layouts: HashMap::new(),
            prepared: HashMap::new(),
            open: None,
            has_altered_table: false,
        }
    }

    /// Whether a tracked table was altered.
    pub(super) fn has_altered_table(&self) -> bool {
        self.has_altered_table
    }

    /// Handles one event that ends at `end`; `None` if it can't be parsed.
    pub(super) fn handle(
        &mut self,
        raw: &RawEvent,
        event: Option<Event<'_>>,
        end: Lsn,
    ) -> GroupState {
        self.timestamp = raw.timestamp;
        let ended = match event {
            Some(event) => self.handle_event(event),
            None => {
                self.mark_unknown(&format!("event {} can't be parsed", raw.kind));
                // A statement in another encoding may have altered a table.
                self.has_altered_table |= raw.kind == QUERY;
                self.is_standalone()
            }
        };
        if !ended {
            return GroupState::Open;
        }
        GroupState::Ended(self.open.take().and_then(|open| self.commit(open, end, raw.timestamp)))
    }

    /// Returns whether the group has ended, or none is open.
    fn handle_event(&mut self, event: Event<'_>) -> bool {
        match event {
            Event::Begin { standalone } => {
                self.layouts.clear();
                self.open = Some(OpenGroup { standalone, ..OpenGroup::default() });
                false
            }
            Event::Query { database, text } => self.handle_query(database, text),
            Event::Table { id, table } => {
                let layout = self.layout_of(table);
                self.layouts.insert(id, layout);
                false
            }
            Event::Rows(rows) => {
                self.handle_rows(&rows);
                false
            }
            Event::Commit => true,
            Event::Prepared => {
                self.prepare();
                true
            }
            Event::Unknown => {
                self.mark_unknown("the log contains a change without its rows");
                self.is_standalone()
            }
            Event::Other | Event::Rotate { .. } | Event::Heartbeat { .. } => self.open.is_none(),
        }
    }

    fn is_standalone(&self) -> bool {
        self.open.as_ref().is_none_or(|open| open.standalone)
    }

    fn handle_query(&mut self, database: &str, text: &str) -> bool {
        let effect = effect_of(text, database, &self.names);
        let open =
            self.open.get_or_insert_with(|| OpenGroup { standalone: true, ..OpenGroup::default() });
        let standalone = open.standalone;
        match effect {
            StatementEffect::None => {}
            StatementEffect::EndsGroup => return true,
            StatementEffect::NamesXa(name) => open.xa_name = Some(name.to_owned()),
            StatementEffect::CommitsXa(name) => {
                match self.prepared.remove(name) {
                    Some(changes) => open.changes = changes,
                    None => open.unknown = true,
                }
                return true;
            }
            StatementEffect::RollsBackXa(name) => {
                self.prepared.remove(name);
                return true;
            }
            StatementEffect::Truncates(tables) => open.whole_tables.extend(tables),
            StatementEffect::Alters(tables) => {
                open.whole_tables.extend(tables);
                self.has_altered_table = true;
            }
            StatementEffect::Redefines => open.whole_tables.extend(0..self.tables.len()),
            StatementEffect::Unknown => {
                self.mark_unknown(
                    "a statement was logged instead of its changed rows (binlog_format)",
                );
            }
        }
        standalone
    }

    fn prepare(&mut self) {
        let Some(open) = &mut self.open else { return };
        let changes = std::mem::take(&mut open.changes);
        let (whole_tables, messages) =
            (std::mem::take(&mut open.whole_tables), std::mem::take(&mut open.messages));
        let rows_only = whole_tables.is_empty() && messages.is_empty() && !open.unknown;
        open.unknown = false;
        let name = open.xa_name.take();
        let kept: usize = self.prepared.values().map(Vec::len).sum();
        let fits = self.prepared.len() < MAX_PREPARED && kept + changes.len() <= self.max_changes;
        // The commit of a transaction that is not kept counts as a change of everything.
        if let (Some(name), true, true) = (name, rows_only, fits) {
            self.prepared.insert(name, changes);
        }
    }

    /// Returns the commit, or `None` if the group changed no tracked table.
    fn commit(&self, open: OpenGroup, end: Lsn, timestamp: u32) -> Option<Commit> {
        let OpenGroup { mut changes, whole_tables, mut messages, unknown, .. } = open;
        if unknown {
            changes = (0..self.tables.len()).map(|table| self.whole_table(table)).collect();
            // The unknown part may have contained a request.
            messages.push(LogMessage::unknown_changes());
        } else if !whole_tables.is_empty() {
            let index = |table: &str| self.tables.iter().position(|other| *other.name == *table);
            let listed = changes.into_iter();
            changes = listed
                .filter(|change| {
                    index(&change.table).is_none_or(|table| !whole_tables.contains(&table))
                })
                .collect();
            changes.extend(whole_tables.into_iter().map(|table| self.whole_table(table)));
        }
        if changes.is_empty() && messages.is_empty() {
            return None;
        }
        Some(Commit { lsn: end, committed_us: u64::from(timestamp) * 1_000_000, changes, messages })
    }

    /// Turns the group into a change of everything: skipping its malformed part would lose a change,
    /// and stopping would block the feed for good.
    fn mark_unknown(&mut self, problem: &str) {
        self.metrics.malformed.inc();
        tracing::error!(source = %self.source, error = problem, "everything counts as changed");
        let standalone = || OpenGroup { standalone: true, ..OpenGroup::default() };
        self.open.get_or_insert_with(standalone).unknown = true;
    }

    fn layout_of(&self, map: TableMap) -> Option<TableLayout> {
        let name = TableName { schema: map.database, table: map.table };
        let role = match self.names.iter().position(|tracked| *tracked == name) {
            Some(table) => TableRole::Tracked(table),
            None if name == self.request_table => TableRole::Requests,
            None => return None,
        };
        let (needed, renewed): (&[Arc<str>], &[Arc<str>]) = match role {
            TableRole::Tracked(table) => (&self.tables[table].columns, &self.tables[table].renewed),
            TableRole::Requests => (&self.request_columns, &[]),
        };
        Some(TableLayout::new(role, map.columns, needed, renewed))
    }

    fn handle_rows(&mut self, rows: &Rows<'_>) {
        match self.layouts.remove(&rows.table) {
            Some(layout) => {
                if let Some(layout) = &layout {
                    self.add_rows(layout, rows);
                }
                self.layouts.insert(rows.table, layout);
            }
            None => self.mark_unknown("rows of a table that was not described"),
        }
    }

    fn add_rows(&mut self, layout: &TableLayout, rows: &Rows<'_>) {
        let complete = layout.has_needed(rows.first)
            && (rows.op != Op::Update || layout.has_needed(rows.second));
        let mut data = rows.data;
        while !data.0.is_empty() {
            let before = data.0.len();
            let images = layout.images(rows, &mut data).filter(|_| data.0.len() < before);
            let Some((old, new)) = images else {
                return self.mark_unknown("a row does not match its table");
            };
            match layout.role {
                TableRole::Tracked(table) if complete => {
                    let (source, forms) = (self.source.clone(), layout.forms());
                    let (name, op) = (self.tables[table].name.clone(), rows.op);
                    self.add(table, RowChange { source, table: name, op, old, new, forms });
                }
                // `binlog_row_metadata`, or the session's `binlog_row_image`, was changed.
                TableRole::Tracked(table) => return self.mark_whole_table(table),
                TableRole::Requests if complete => self.add_request(new.as_ref()),
                TableRole::Requests => {
                    return self.mark_unknown("a request whose text is not in the log");
                }
            }
        }
    }

    fn add(&mut self, table: usize, change: RowChange) {
        let Some(open) = &mut self.open else { return };
        if open.whole_tables.contains(&table) {
            return;
        }
        if open.changes.len() >= self.max_changes {
            self.metrics.oversized.inc();
            return self.mark_whole_table(table);
        }
        open.changes.push(change);
    }

    /// Adds a request. Its deletion (`None`), a nudge (an empty text) and a beat of a node that follows a relay are
    /// ignored.
    fn add_request(&mut self, row: Option<&Row>) {
        let text = row.and_then(|row| row.get(MESSAGE_COLUMN)).and_then(Cell::text);
        let is_request = |text: &&str| !text.is_empty() && !text.starts_with(BEAT_PREFIX);
        let Some(text) = text.filter(is_request) else { return };
        let at_us = u64::from(self.timestamp) * 1_000_000;
        let (keys, source, metrics) = (&self.message_keys, &self.source, &self.metrics);
        if let Some(message) = keys.read(text.as_bytes(), at_us, source, metrics) {
            self.open.get_or_insert_default().messages.push(message);
        }
    }

    /// Counts the table as wholly changed by the open group.
    fn mark_whole_table(&mut self, table: usize) {
        let open = self.open.get_or_insert_default();
        open.whole_tables.insert(table);
        let name = &self.tables[table].name;
        open.changes.retain(|change| change.table != *name);
    }

    fn whole_table(&self, table: usize) -> RowChange {
        whole_table(&self.source, self.tables[table].name.clone())
    }
}

fn shared(names: &[String]) -> Vec<Arc<str>> {
    names.iter().map(|name| name.as_str().into()).collect()
}

#[cfg(test)]
#[path = "assembler_tests.rs"]
mod tests;
