//! Parser of the messages of Debezium's connectors for MariaDB and MySQL, without knowledge of their tables.

use std::sync::Arc;

use coherence::{Gtid, Lsn};
use contract::Op;
use serde_json::{Map, Value};

use crate::debezium::{Envelope, number, parse_bodies};
use crate::table::TableName;

/// One message.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Message {
    /// Without effect: a tombstone, a heartbeat, or a row or definition that a snapshot has read. A snapshot that
    /// passes over a part of the log leaves a gap in the ids of transactions.
    Ignored,
    /// A transaction begins.
    Begin { id: Gtid },
    /// A transaction has ended.
    End { id: Gtid, count: u64 },
    /// A changed row.
    Row { ordinal: u64, position: EventPosition, row: Box<RowEvent> },
    /// A statement that the log contains in place of rows.
    Statement { position: EventPosition, statement: Statement },
}

/// The position of an event in the log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct EventPosition {
    pub(super) id: Gtid,
    /// Behind the begin of its transaction, and not behind its end.
    pub(super) at: Lsn,
    pub(super) committed_us: u64,
}

/// A change of a row.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct RowEvent {
    pub(super) table: TableName,
    pub(super) op: Op,
    pub(super) before: Option<Map<String, Value>>,
    pub(super) after: Option<Map<String, Value>>,
    /// The schemas of its columns, if the message contains them.
    pub(super) schema: Option<Arc<Value>>,
    /// Whether MySQL's connector wrote it.
    pub(super) of_mysql: bool,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Statement {
    Truncates(TableName),
    Ddl { database: String, text: String },
}

const METADATA: &str = "set provide.transaction.metadata=true at the connector: without it, missing \
                        events can't be detected";

const GTIDS: &str = "the connector has to name global transaction ids, so that missing transactions are noticed: \
                     use the connector for MariaDB of Debezium 2.5 or later (connector.adapter=mariadb, before 3.0)";

/// Parses a body: one message, or a list of messages.
///
/// # Errors
/// A text that says where the body is malformed, and how to configure Debezium.
pub(super) fn parse(body: &[u8]) -> Result<Vec<Message>, String> {
    parse_bodies(body, |envelope| match envelope {
        Some(envelope) => parse_message(envelope),
        None => Ok(Message::Ignored),
    })
}

fn parse_message(envelope: Envelope) -> Result<Message, String> {
    let is_heartbeat = envelope.is_heartbeat();
    let Envelope { payload: message, schema } = envelope;
    let text = |name: &str| message.get(name).and_then(Value::as_str);
    match (text("status"), message.get("op")) {
        (Some(status @ ("BEGIN" | "END")), None) => boundary(&message, status == "BEGIN"),
        (_, Some(op)) => {
            let op = op.as_str().unwrap_or_default().to_owned();
            event(message, &op, schema)
        }
        (None, None) if is_heartbeat => Ok(Message::Ignored),
        (None, None) if message.contains_key("ddl") => definition(&message),
        _ => Err("it has neither `op` nor `status`: only Debezium's own envelope is supported, so remove \
                  transforms such as ExtractNewRecordState (unwrap)"
            .into()),
    }
}

fn boundary(message: &Map<String, Value>, begins: bool) -> Result<Message, String> {
    let id = transaction_id(message.get("id"))?;
    if begins {
        return Ok(Message::Begin { id });
    }
    let count = message.get("event_count").and_then(number);
    let count = count.ok_or("event_count: missing from the end of a transaction")?;
    Ok(Message::End { id, count })
}

/// Parses the id of a transaction. Without global ids it is a position: `file=binlog.000003,pos=154`.
fn transaction_id(id: Option<&Value>) -> Result<Gtid, String> {
    let text = id.and_then(Value::as_str).unwrap_or_default();
    text.parse().map_err(|err| format!("id of a transaction: {err}; {GTIDS}"))
}

fn event(
    mut message: Map<String, Value>,
    op: &str,
    schema: Option<Arc<Value>>,
) -> Result<Message, String> {
    let source = Source::of(&message)?;
    // Rows that a snapshot has read are no changes.
    if op == "r" || source.is_snapshot() {
        return Ok(Message::Ignored);
    }
    let of_mysql = source.is_of_mysql()?;
    let table = match (source.text("db"), source.text("table")) {
        (Some(db), Some(table)) => TableName { schema: db.to_owned(), table: table.to_owned() },
        _ => return Err("source.db, source.table: missing".into()),
    };
    let inside = message.get("transaction").and_then(Value::as_object);
    let op = match op {
        "c" => Op::Insert,
        "u" => Op::Update,
        "d" => Op::Delete,
        "t" => {
            let id = inside.and_then(|inside| inside.get("id"));
            let position = source.position(transaction_id(id.or(source.0.get("gtid")))?)?;
            return Ok(Message::Statement { position, statement: Statement::Truncates(table) });
        }
        _ => return Err(format!("op = {op:?}: c, u, d, r and t are supported")),
    };
    let inside = inside.ok_or_else(|| format!("transaction: missing; {METADATA}"))?;
    let ordinal = inside.get("total_order").and_then(number);
    let ordinal = ordinal.ok_or_else(|| format!("transaction.total_order: missing; {METADATA}"))?;
    let position = source.position(transaction_id(inside.get("id"))?)?;
    let mut row = |name: &str| match message.remove(name) {
        Some(Value::Object(row)) => Some(row),
        _ => None,
    };
    let (before, after) = (row("before"), row("after"));
    let row = RowEvent { table, op, before, after, schema, of_mysql };
    Ok(Message::Row { ordinal, position, row: Box::new(row) })
}

/// Parses the report of a statement that defines something.
fn definition(message: &Map<String, Value>) -> Result<Message, String> {
    let source = Source::of(message)?;
    if source.is_snapshot() {
        return Ok(Message::Ignored);
    }
    source.is_of_mysql()?;
    let text = |name: &str| message.get(name).and_then(Value::as_str);
    let database = text("databaseName").or(source.text("db")).unwrap_or_default().to_owned();
    let text = text("ddl").ok_or("ddl: it is not a text")?.to_owned();
    let position = source.position(transaction_id(source.0.get("gtid"))?)?;
    Ok(Message::Statement { position, statement: Statement::Ddl { database, text } })
}

/// The block `source` of a message.
struct Source<'a>(&'a Map<String, Value>);

impl<'a> Source<'a> {
    fn of(message: &'a Map<String, Value>) -> Result<Self, String> {
        let source = message.get("source").and_then(Value::as_object);
        source.map(Self).ok_or_else(|| "source: missing".to_owned())
    }

    fn text(&self, name: &str) -> Option<&'a str> {
        self.0.get(name).and_then(Value::as_str)
    }

    /// Whether a snapshot has read it: `snapshot` is `true`, `first`, `last`, `incremental` and the like.
    fn is_snapshot(&self) -> bool {
        match self.0.get("snapshot") {
            Some(Value::Bool(snapshot)) => *snapshot,
            Some(Value::String(snapshot)) => snapshot != "false",
            _ => false,
        }
    }

    /// Whether MySQL's connector wrote the message, and not MariaDB's.
    fn is_of_mysql(&self) -> Result<bool, String> {
        match self.text("connector") {
            Some("mariadb") => Ok(false),
            Some("mysql") => Ok(true),
            other => Err(format!(
                "source.connector = {other:?}: this source is a MariaDB, so only events of the MariaDB and MySQL \
                 connectors belong to it"
            )),
        }
    }

    fn position(&self, id: Gtid) -> Result<EventPosition, String> {
        let (file, pos) = (self.text("file").unwrap_or_default(), self.0.get("pos"));
        // MariaDB 11.4 and later number only the begin and the end of a transaction, so that its rows come with the
        // position of its begin. A snapshot without the transaction may have that one.
        let behind = pos.and_then(number).and_then(|pos| pos.checked_add(1));
        let at = behind.and_then(|behind| Lsn::in_binlog(file, behind));
        let at = at.ok_or_else(|| {
            format!("source.file = {file:?}, source.pos = {pos:?}: not a position in a binary log")
        })?;
        let us = self.0.get("ts_us").and_then(number);
        let ms = || Some(self.0.get("ts_ms").and_then(number)?.saturating_mul(1_000));
        Ok(EventPosition { id, at, committed_us: us.or_else(ms).unwrap_or(0) })
    }
}

#[cfg(test)]
#[path = "parser_tests.rs"]
mod tests;
