//! From events to commits.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use coherence::{Cause, Lsn, Subject};
use contract::{Cell, Forms, Op, Row, RowChange};

use super::log::{Bytes, Column, Event, Raw, Rows, TableMap};
use super::options::MariaDbOptions;
use super::row;
use super::statement::{Meaning, meaning};
use crate::event::Commit;
use crate::message::LogMessage;
use crate::metrics::Metrics;

/// The table that requests are written to; in the URL's database.
pub(super) const ORDERS: &str = "tidegate_orders";
/// Its column with the request's JSON.
pub(super) const MESSAGE: &str = "message";

/// Prepared transactions that are remembered until somebody commits them. Beyond, a commit counts as
/// a change of everything.
const MOST_PREPARED: usize = 1_000;

/// Collects the events of one stream into commits.
pub(super) struct Assembler {
    source: Arc<str>,
    /// As written in the contracts, and the columns that matter.
    tracked: Vec<(Arc<str>, Vec<String>)>,
    /// Their databases and names, in the same order.
    names: Vec<(String, String)>,
    orders: (String, String),
    max_changes: usize,
    metrics: Metrics,
    /// The tables of the present group, by their number in it; `None` for one that nobody tracks.
    maps: HashMap<u64, Option<Described>>,
    prepared: HashMap<String, Vec<RowChange>>,
    open: Option<Open>,
    redefined: bool,
}

/// A table that matters, as the log described it.
struct Described {
    which: Which,
    columns: Vec<Column>,
    wanted: Vec<bool>,
    /// All that is wanted has a name in the log.
    complete: bool,
    /// How many columns are wanted.
    count: usize,
}

#[derive(Clone, Copy)]
enum Which {
    Tracked(usize),
    Orders,
}

/// A group of events whose end has not arrived.
#[derive(Default)]
struct Open {
    standalone: bool,
    changes: Vec<RowChange>,
    /// Tables of which everything counts as changed.
    whole: BTreeSet<usize>,
    messages: Vec<LogMessage>,
    prepares: Option<String>,
    /// Nobody knows what changed.
    anything: bool,
}

/// What an event has ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// Nothing: its group goes on.
    Nothing,
    /// All before its end is complete; a commit, if that concerns anybody.
    Group(Option<Commit>),
}

impl Assembler {
    /// `database`: the URL's.
    pub(super) fn new(options: &MariaDbOptions, database: &str) -> Self {
        let tables = options.tables.iter();
        Self {
            source: options.source.clone(),
            names: tables.clone().map(|tracked| split(&tracked.table, database)).collect(),
            tracked: tables
                .map(|tracked| (tracked.table.as_str().into(), tracked.columns.clone()))
                .collect(),
            orders: (database.to_owned(), ORDERS.to_owned()),
            max_changes: options.max_changes,
            metrics: options.metrics.clone(),
            maps: HashMap::new(),
            prepared: HashMap::new(),
            open: None,
            redefined: false,
        }
    }

    /// Whether a tracked table was made another one.
    pub(super) fn redefined(&self) -> bool {
        self.redefined
    }

    /// Takes one event that ends at `end`; `None`: it can't be read.
    pub(super) fn take(&mut self, raw: &Raw, event: Option<Event<'_>>, end: Lsn) -> Ended {
        let ended = match event {
            Some(event) => self.event(event),
            None => {
                self.unreadable(&format!("event {} can't be read", raw.kind));
                self.open.as_ref().is_none_or(|open| open.standalone)
            }
        };
        if !ended {
            return Ended::Nothing;
        }
        Ended::Group(self.open.take().and_then(|open| self.commit(open, end, raw.timestamp)))
    }

    /// Whether the group has ended, or there is none.
    fn event(&mut self, event: Event<'_>) -> bool {
        match event {
            Event::Begin { standalone } => {
                self.maps.clear();
                self.open = Some(Open { standalone, ..Open::default() });
                false
            }
            Event::Query { database, text } => self.query(database, text),
            Event::Table { id, table } => {
                let described = self.describe(table);
                self.maps.insert(id, described);
                false
            }
            Event::Rows(rows) => {
                self.rows(&rows);
                false
            }
            Event::Commit => true,
            Event::Prepared => {
                self.prepare();
                true
            }
            Event::Unknown => {
                self.unreadable("the log holds what is not told row by row");
                self.open.as_ref().is_none_or(|open| open.standalone)
            }
            Event::Other | Event::Rotate { .. } | Event::Heartbeat { .. } => self.open.is_none(),
        }
    }

    fn query(&mut self, database: &str, text: &str) -> bool {
        let meaning = meaning(text, database, &self.names);
        let open = self.open.get_or_insert_with(|| Open { standalone: true, ..Open::default() });
        let standalone = open.standalone;
        match meaning {
            Meaning::Nothing => {}
            Meaning::End => return true,
            Meaning::Prepares(name) => open.prepares = Some(name.to_owned()),
            Meaning::CommitsPrepared(name) => {
                match self.prepared.remove(name) {
                    Some(changes) => open.changes = changes,
                    None => open.anything = true,
                }
                return true;
            }
            Meaning::ForgetsPrepared(name) => {
                self.prepared.remove(name);
                return true;
            }
            Meaning::Empties(table) => {
                open.whole.insert(table);
            }
            Meaning::Redefines(table) => {
                open.whole.insert(table);
                self.redefined = true;
            }
            Meaning::Anything => {
                let problem = "a statement was logged instead of the rows that it changed \
                               (binlog_format)";
                self.unreadable(problem);
            }
        }
        standalone
    }

    fn prepare(&mut self) {
        let Some(open) = &mut self.open else { return };
        let changes = std::mem::take(&mut open.changes);
        let (whole, messages) =
            (std::mem::take(&mut open.whole), std::mem::take(&mut open.messages));
        let plain = whole.is_empty() && messages.is_empty() && !open.anything;
        open.anything = false;
        let name = open.prepares.take();
        let held: usize = self.prepared.values().map(Vec::len).sum();
        let room = self.prepared.len() < MOST_PREPARED && held + changes.len() <= self.max_changes;
        // Of those that are not remembered the commit will be told as a change of everything.
        if let (Some(name), true, true) = (name, plain, room) {
            self.prepared.insert(name, changes);
        }
    }

    /// The commit, if it concerns anybody.
    fn commit(&self, open: Open, end: Lsn, timestamp: u32) -> Option<Commit> {
        let Open { mut changes, whole, mut messages, anything, .. } = open;
        if anything {
            changes = (0..self.tracked.len()).map(|table| self.emptied(table)).collect();
            // A request may have been in what could not be read.
            messages.push(LogMessage {
                id: String::new(),
                cause: Cause::Commit,
                subjects: vec![Subject::Everything],
            });
        } else if !whole.is_empty() {
            let listed = changes.into_iter();
            let named = |table: &str| self.tracked.iter().position(|(name, _)| **name == *table);
            changes = listed
                .filter(|change| named(&change.table).is_none_or(|table| !whole.contains(&table)))
                .collect();
            changes.extend(whole.into_iter().map(|table| self.emptied(table)));
        }
        if changes.is_empty() && messages.is_empty() {
            return None;
        }
        Some(Commit { lsn: end, committed_us: u64::from(timestamp) * 1_000_000, changes, messages })
    }

    /// What can't be read counts as a change of everything: to skip it would be to lose a change, to
    /// stop would be to stop for good.
    fn unreadable(&mut self, problem: &str) {
        self.metrics.malformed.inc();
        tracing::error!(source = %self.source, error = problem, "everything counts as changed");
        let alone = || Open { standalone: true, ..Open::default() };
        self.open.get_or_insert_with(alone).anything = true;
    }

    fn describe(&self, map: TableMap) -> Option<Described> {
        let name = (map.database, map.table);
        let (which, count) = match self.names.iter().position(|tracked| *tracked == name) {
            Some(table) => (Which::Tracked(table), self.tracked[table].1.len()),
            None if name == self.orders => (Which::Orders, 1),
            None => return None,
        };
        let is_wanted = |column: &Column| match (&column.name, which) {
            (Some(name), Which::Tracked(table)) => self.tracked[table].1.contains(name),
            (Some(name), Which::Orders) => name == MESSAGE,
            (None, _) => false,
        };
        let wanted: Vec<bool> = map.columns.iter().map(is_wanted).collect();
        let named = wanted.iter().filter(|wanted| **wanted).count();
        Some(Described { which, columns: map.columns, wanted, complete: named == count, count })
    }

    fn rows(&mut self, rows: &Rows<'_>) {
        match self.maps.remove(&rows.table) {
            Some(described) => {
                if let Some(described) = &described {
                    self.rows_of(described, rows);
                }
                self.maps.insert(rows.table, described);
            }
            None => self.unreadable("rows of a table that was not described"),
        }
    }

    fn rows_of(&mut self, described: &Described, rows: &Rows<'_>) {
        let mut data = rows.data;
        while !data.0.is_empty() {
            let before = data.0.len();
            let images = described.images(rows, &mut data).filter(|_| data.0.len() < before);
            let Some((old, new)) = images else {
                return self.unreadable("a row does not fit its table");
            };
            let whole = |row: &Row| described.complete && row.len() == described.count;
            let whole = [&old, &new].into_iter().flatten().all(whole);
            match described.which {
                Which::Tracked(table) if whole => self.add(table, rows.op, old, new),
                // Somebody changed `binlog_row_metadata`, or the session `binlog_row_image`.
                Which::Tracked(table) => return self.whole(table),
                Which::Orders if whole => self.request(new.as_ref()),
                Which::Orders => return self.unreadable("a request whose text is not in the log"),
            }
        }
    }

    fn add(&mut self, table: usize, op: Op, old: Option<Row>, new: Option<Row>) {
        let Some(open) = &mut self.open else { return };
        if open.whole.contains(&table) {
            return;
        }
        if open.changes.len() >= self.max_changes {
            self.metrics.oversized.inc();
            return self.whole(table);
        }
        let (source, name) = (self.source.clone(), self.tracked[table].0.clone());
        let forms = Forms::default();
        open.changes.push(RowChange { source, table: name, op, old, new, forms });
    }

    /// A request, a nudge (which is empty), or a stranger's text; `None` as it is taken out again.
    fn request(&mut self, row: Option<&Row>) {
        let text = row.and_then(|row| row.get(MESSAGE)).and_then(Cell::text);
        let Some(text) = text.filter(|text| !text.is_empty()) else { return };
        match LogMessage::from_json(text.as_bytes()) {
            Ok(message) => self.open.get_or_insert_default().messages.push(message),
            Err(err) => {
                self.metrics.malformed.inc();
                tracing::warn!(source = %self.source, error = %err, "unreadable request skipped");
            }
        }
    }

    /// Everything in the table counts as changed by the present group.
    fn whole(&mut self, table: usize) {
        let open = self.open.get_or_insert_default();
        open.whole.insert(table);
        let name = &self.tracked[table].0;
        open.changes.retain(|change| change.table != *name);
    }

    fn emptied(&self, table: usize) -> RowChange {
        RowChange {
            source: self.source.clone(),
            table: self.tracked[table].0.clone(),
            op: Op::Truncate,
            old: None,
            new: None,
            forms: Forms::default(),
        }
    }
}

impl Described {
    /// A row before and after, as far as its kind of change has them.
    fn images(&self, rows: &Rows<'_>, data: &mut Bytes<'_>) -> Option<(Option<Row>, Option<Row>)> {
        if rows.columns != self.columns.len() {
            return None;
        }
        let mut image = |present| row::read(&self.columns, &self.wanted, present, data);
        let first = image(rows.first)?;
        Some(match rows.op {
            Op::Insert => (None, Some(first)),
            Op::Update => (Some(first), Some(image(rows.second)?)),
            Op::Delete | Op::Truncate => (Some(first), None),
        })
    }
}

/// A table's database and name.
pub(super) fn split(table: &str, database: &str) -> (String, String) {
    let (database, table) = table.split_once('.').unwrap_or((database, table));
    (database.to_owned(), table.to_owned())
}

#[cfg(test)]
#[path = "transaction_tests.rs"]
mod tests;
