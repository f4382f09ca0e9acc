//! Parser of Debezium's messages, without knowledge of their tables.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use coherence::Lsn;
use contract::Op;
use serde_json::{Map, Value};

use crate::debezium::{Envelope, number, parse_bodies};
use crate::table::TableName;

/// One message of Debezium's PostgreSQL connector.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Message {
    /// Without effect: a tombstone, a heartbeat, a row of an incremental snapshot.
    Ignored,
    /// Debezium reads whole tables.
    Snapshot,
    /// A transaction begins.
    Begin { xid: u32 },
    /// A transaction has ended.
    End { xid: u32, end: Lsn, count: u64 },
    /// A message in the log outside any transaction.
    NonTransactional { at: Lsn },
    /// An event inside a transaction.
    Event(Event),
}

/// An event; see [`coherence::relay::RelayMessage::Event`].
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Event {
    pub(super) xid: u32,
    pub(super) ordinal: u64,
    pub(super) after: Option<Lsn>,
    pub(super) committed_us: u64,
    pub(super) content: Content,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Content {
    Row(Box<RowEvent>),
    /// A logical message with any prefix.
    Message {
        prefix: String,
        content: Vec<u8>,
    },
}

/// A change of a row or of a whole table.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct RowEvent {
    pub(super) table: TableName,
    pub(super) op: Op,
    pub(super) before: Option<Map<String, Value>>,
    pub(super) after: Option<Map<String, Value>>,
    /// The schemas of its columns, if the message contains them.
    pub(super) schema: Option<Arc<Value>>,
}

const METADATA: &str = "set provide.transaction.metadata=true at the connector: without it, missing \
                        events can't be detected";

const OTHER_CONNECTORS: &str = "this source is a PostgreSQL, so only events of the PostgreSQL connector belong to \
                                it; post those of MariaDB to a source whose url is a MariaDB";

/// Parses a body: one message, or a list of messages. `database`: the expected `source.db`.
///
/// # Errors
/// A text that says where the body is malformed, and how to configure Debezium.
pub(super) fn parse(body: &[u8], database: &str) -> Result<Vec<Message>, String> {
    parse_bodies(body, |envelope| match envelope {
        Some(envelope) => parse_message(envelope, database),
        None => Ok(Message::Ignored),
    })
}

fn parse_message(envelope: Envelope, database: &str) -> Result<Message, String> {
    let is_heartbeat = envelope.is_heartbeat();
    let Envelope { payload: message, schema } = envelope;
    match (message.get("status").and_then(Value::as_str), message.get("op")) {
        (Some(status @ ("BEGIN" | "END")), None) => boundary(&message, status == "BEGIN"),
        (_, Some(op)) => {
            let op = op.as_str().unwrap_or_default().to_owned();
            event(message, &op, schema, database)
        }
        (None, None) if is_heartbeat => Ok(Message::Ignored),
        (None, None) if message.contains_key("ddl") => {
            Err(format!("it is a change of a schema: {OTHER_CONNECTORS}"))
        }
        _ => Err("it has neither `op` nor `status`: only Debezium's own envelope is supported, so remove \
                  transforms such as ExtractNewRecordState (unwrap)"
            .into()),
    }
}

fn boundary(message: &Map<String, Value>, begins: bool) -> Result<Message, String> {
    let id = message.get("id").and_then(Value::as_str).unwrap_or_default();
    // Transactions of a binary log: a GTID, or file and position.
    if id.contains('-') || id.starts_with("file=") {
        return Err(format!("id = {id:?} is of another database's log: {OTHER_CONNECTORS}"));
    }
    let (xid, at) = transaction(id).ok_or_else(|| {
        format!(
            "id = {id:?}: a transaction's id and position are expected, such as \"571:53195832\"; \
             Debezium 2.0 or later writes them"
        )
    })?;
    if begins {
        return Ok(Message::Begin { xid });
    }
    let count = message.get("event_count").and_then(number);
    let count = count.ok_or("event_count: missing from the end of a transaction")?;
    Ok(Message::End { xid, end: at, count })
}

fn event(
    mut message: Map<String, Value>,
    op: &str,
    schema: Option<Arc<Value>>,
    database: &str,
) -> Result<Message, String> {
    let Some(Value::Object(source)) = message.get("source") else {
        return Err("source: missing".into());
    };
    let text = |name: &str| source.get(name).and_then(Value::as_str);
    match text("connector") {
        Some("postgresql") => {}
        other => {
            return Err(format!("source.connector = {other:?}: {OTHER_CONNECTORS}"));
        }
    }
    if let Some(other) = text("db").filter(|db| *db != database) {
        return Err(format!(
            "source.db = {other:?}: this source is the database {database:?}; post events of other \
             databases to their own source"
        ));
    }
    if op == "r" {
        // An incremental snapshot is read during the stream; any other one starts a stream.
        let incremental = text("snapshot") == Some("incremental");
        return Ok(if incremental { Message::Ignored } else { Message::Snapshot });
    }
    let positions = sequence(source);
    let at = source.get("lsn").and_then(number).map(Lsn).or(positions.1);
    let Some(Value::Object(inside)) = message.get("transaction") else {
        return match (op, at) {
            // To Debezium, a message outside transactions is itself the last commit.
            ("m", Some(at)) if positions.0.is_none_or(|last| last == at) => {
                Ok(Message::NonTransactional { at })
            }
            _ => Err(format!("transaction: missing; {METADATA}")),
        };
    };
    let id = inside.get("id").and_then(Value::as_str).unwrap_or_default();
    let xid = transaction(id).map(|(xid, _)| xid);
    let ordinal = inside.get("total_order").and_then(number);
    let (Some(xid), Some(ordinal)) = (xid, ordinal) else {
        return Err(format!("transaction: id {id:?} or total_order is malformed; {METADATA}"));
    };
    let committed_us = source.get("ts_us").and_then(number);
    let committed_us =
        committed_us.or_else(|| Some(source.get("ts_ms").and_then(number)?.saturating_mul(1_000)));
    let table = (text("schema").map(str::to_owned), text("table").map(str::to_owned));
    let content = match op {
        "m" => log_message(&message)?,
        "c" | "u" | "d" | "t" => {
            let (Some(schema_name), Some(table)) = table else {
                return Err("source.schema, source.table: missing".into());
            };
            let mut row = |name: &str| match message.remove(name) {
                Some(Value::Object(row)) => Some(row),
                _ => None,
            };
            let (before, after) = (row("before"), row("after"));
            let op = match op {
                "c" => Op::Insert,
                "u" => Op::Update,
                "d" => Op::Delete,
                _ => Op::Truncate,
            };
            let table = TableName { schema: schema_name, table };
            Content::Row(Box::new(RowEvent { table, op, before, after, schema }))
        }
        _ => return Err(format!("op = {op:?}: c, u, d, r, t and m are supported")),
    };
    let committed_us = committed_us.unwrap_or(0);
    Ok(Message::Event(Event { xid, ordinal, after: positions.0, committed_us, content }))
}

fn log_message(message: &Map<String, Value>) -> Result<Content, String> {
    let Some(Value::Object(inside)) = message.get("message") else {
        return Err("message: missing from an event with op = \"m\"".into());
    };
    let text = |name: &str| inside.get(name).and_then(Value::as_str).unwrap_or_default();
    let content = STANDARD.decode(text("content")).map_err(|_| {
        "message.content is not base64: set binary.handling.mode to bytes or base64".to_owned()
    })?;
    Ok(Content::Message { prefix: text("prefix").to_owned(), content })
}

/// Parses `source.sequence`: the end of the last commit, and the event's position. It is a JSON
/// list of texts, encoded as a text.
fn sequence(source: &Map<String, Value>) -> (Option<Lsn>, Option<Lsn>) {
    let list = match source.get("sequence") {
        Some(Value::String(text)) => serde_json::from_str(text).unwrap_or_default(),
        Some(Value::Array(list)) => list.clone(),
        _ => Vec::new(),
    };
    let position = |at: usize| list.get(at).and_then(number).map(Lsn);
    (position(0), position(1))
}

/// Parses `571:53195832`: the transaction's id, and a position.
fn transaction(id: &str) -> Option<(u32, Lsn)> {
    let (xid, at) = id.split_once(':')?;
    // The id has 32 bits, with or without the epoch before them.
    let xid: u64 = xid.parse().ok()?;
    Some((xid as u32, Lsn(at.parse().ok()?)))
}

#[cfg(test)]
#[path = "parser_tests.rs"]
mod tests;
