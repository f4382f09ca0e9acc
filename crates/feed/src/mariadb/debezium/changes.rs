//! The changes that have arrived and are not delivered yet.

use std::sync::Arc;

use coherence::Lsn;
use coherence::binlog_relay::LogHeartbeat;
use contract::{Op, RowChange};
use serde_json::Value;

use super::beats;
use super::parser::{RowEvent, Statement};
use super::tables::Tables;
use crate::changes::whole_table;
use crate::event::Commit;
use crate::mariadb::log::{BEAT_PREFIX, MESSAGE_COLUMN, REQUEST_TABLE};
use crate::mariadb::options::MariaDbOptions;
use crate::mariadb::statement::{StatementEffect, effect_of};
use crate::message::LogMessage;
use crate::message_keys::MessageKeys;
use crate::metrics::Metrics;
use crate::table::TableName;

/// Changes and requests by position, in the order of the log.
pub(super) struct PendingChanges {
    source: Arc<str>,
    metrics: Metrics,
    message_keys: MessageKeys,
    request_table: TableName,
    tables: Tables,
    commits: Vec<Commit>,
    /// The time of the last commit.
    committed_us: u64,
    /// A definition may have been altered since the tables' description was read.
    is_outdated: bool,
}

impl PendingChanges {
    /// `database`: the one in the URL.
    pub(super) fn new(options: &MariaDbOptions, database: &str, tables: Tables) -> Self {
        let (schema, table) = (database.to_owned(), REQUEST_TABLE.to_owned());
        Self {
            source: Arc::clone(&options.source),
            metrics: options.metrics.clone(),
            message_keys: options.message_keys.clone(),
            request_table: TableName { schema, table },
            tables,
            commits: Vec::new(),
            committed_us: 0,
            is_outdated: false,
        }
    }

    /// Returns the number of positions with changes.
    pub(super) fn len(&self) -> usize {
        self.commits.len()
    }

    /// Whether the tables' description has to be read again before further rows are parsed.
    pub(super) fn is_outdated(&self) -> bool {
        self.is_outdated
    }

    /// Takes the changes for delivery.
    pub(super) fn take(&mut self) -> Vec<Commit> {
        std::mem::take(&mut self.commits)
    }

    /// Returns the heartbeat that a row is.
    pub(super) fn heartbeat(&self, row: &RowEvent) -> Option<LogHeartbeat> {
        self.request(row).flatten().and_then(beats::decode)
    }

    /// Adds a change of everything. The unknown change may have contained a request, or altered a table.
    pub(super) fn add_everything(&mut self, at: Lsn) {
        self.is_outdated = true;
        let all: Vec<RowChange> = self.tables.all().collect();
        let commit = self.at(at);
        commit.changes = all;
        commit.messages.push(LogMessage::unknown_changes());
    }

    /// Adds a changed row.
    pub(super) fn add_row(&mut self, row: &RowEvent, at: Lsn, committed_us: u64) {
        self.committed_us = committed_us;
        match self.request(row) {
            Some(text) => self.add_request(text, at),
            None if row.table == self.request_table => {}
            None => self.add_change(row, at),
        }
    }

    /// Adds the effect of a statement.
    pub(super) fn add_statement(&mut self, statement: &Statement, at: Lsn, committed_us: u64) {
        self.committed_us = committed_us;
        let effect = match statement {
            Statement::Truncates(table) => {
                let index = self.tables.names().iter().position(|name| name == table);
                StatementEffect::Truncates(index.into_iter().collect())
            }
            Statement::Ddl { database, text } => effect_of(text, database, self.tables.names()),
        };
        let (tables, alters) = match effect {
            StatementEffect::None => return,
            StatementEffect::Truncates(tables) => (tables, false),
            StatementEffect::Alters(tables) => (tables, true),
            _ => return self.add_everything(at),
        };
        for table in tables {
            let change = self.tables.whole_table(table);
            self.at(at).changes.push(change);
        }
        self.is_outdated |= alters;
    }

    /// Returns the text of a request, `Some(None)` for one without a text, and `None` for other rows. The deletion of a
    /// request is none.
    fn request<'a>(&self, row: &'a RowEvent) -> Option<Option<&'a str>> {
        let after = row.after.as_ref()?;
        let is_request = row.op == Op::Insert && row.table == self.request_table;
        is_request.then(|| after.get(MESSAGE_COLUMN).and_then(Value::as_str))
    }

    fn add_request(&mut self, text: Option<&str>, at: Lsn) {
        let (source, metrics) = (&self.source, &self.metrics);
        let message = match text {
            // A nudge, or a beat.
            Some(text) if text.is_empty() || text.starts_with(BEAT_PREFIX) => None,
            Some(text) => {
                self.message_keys.read(text.as_bytes(), self.committed_us, source, metrics)
            }
            None => {
                metrics.malformed.inc();
                tracing::error!(%source, "an event of a request has no text, so everything counts as changed");
                Some(LogMessage::unknown_changes())
            }
        };
        if let Some(message) = message {
            self.at(at).messages.push(message);
        }
    }

    fn add_change(&mut self, row: &RowEvent, at: Lsn) {
        let Some((mut change, parsed)) = self.tables.change(row) else { return };
        if self.is_outdated {
            change = whole_table(&self.source, change.table);
        } else if !parsed {
            self.metrics.malformed.inc();
            tracing::error!(
                source = %self.source,
                table = %row.table,
                "a row of an event can't be parsed; its whole table counts as changed. \
                 See Debezium's required settings in docs/sources.md"
            );
        }
        self.at(at).changes.push(change);
    }

    /// Returns the changes at a position.
    fn at(&mut self, lsn: Lsn) -> &mut Commit {
        if self.commits.last().is_none_or(|last| last.lsn != lsn) {
            let (changes, messages, committed_us) = (Vec::new(), Vec::new(), self.committed_us);
            self.commits.push(Commit { lsn, committed_us, changes, messages });
        }
        self.commits.last_mut().expect("a commit was just pushed")
    }
}
