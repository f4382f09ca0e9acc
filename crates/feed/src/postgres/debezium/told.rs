//! From bytes to messages: what can be said of a message without knowing its table.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use coherence::Lsn;
use contract::Op;
use serde_json::{Map, Value};

use crate::tracked::TableName;

/// One message of Debezium's PostgreSQL connector.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Told {
    /// Nothing that matters: a tombstone, a heartbeat, a row of an incremental snapshot.
    Nothing,
    /// Whole tables are read.
    Snapshot,
    /// A transaction begins.
    Begin { xid: u32 },
    /// A transaction has ended.
    End { xid: u32, end: Lsn, count: u64 },
    /// A message in the log outside of transactions.
    Loose { at: Lsn },
    /// Something happened inside a transaction.
    Event(Event),
}

/// See [`coherence::relay::Told::Event`].
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Event {
    pub(super) xid: u32,
    pub(super) order: u64,
    pub(super) after: Option<Lsn>,
    pub(super) committed_us: u64,
    pub(super) what: What,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum What {
    Row(Box<RowEvent>),
    /// A message in the log, for whomever.
    Message {
        prefix: String,
        content: Vec<u8>,
    },
}

/// A change of a row, or of a whole table.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct RowEvent {
    pub(super) table: TableName,
    pub(super) op: Op,
    pub(super) before: Option<Map<String, Value>>,
    pub(super) after: Option<Map<String, Value>>,
    /// The schemas of its columns, if the message has them.
    pub(super) schema: Option<Arc<Value>>,
}

const METADATA: &str = "set provide.transaction.metadata=true at the connector: without it nobody \
                        can tell whether an event is missing";

/// Reads a body: one message, or a list of them. `database`: whose messages are expected.
///
/// # Errors
/// What can't be read, where, and how to mend it.
pub(super) fn parse(body: &[u8], database: &str) -> Result<Vec<Told>, String> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Vec::new());
    }
    let value: Value = serde_json::from_slice(body)
        .map_err(|err| format!("the body is no JSON: {err}; set debezium.format.value=json"))?;
    match value {
        Value::Array(messages) => {
            let numbered = messages.into_iter().enumerate();
            let read = numbered.map(|(at, message)| {
                message_of(message, database).map_err(|what| format!("message {at}: {what}"))
            });
            read.collect()
        }
        message => Ok(vec![message_of(message, database)?]),
    }
}

fn message_of(message: Value, database: &str) -> Result<Told, String> {
    let mut message = match message {
        Value::Null => return Ok(Told::Nothing),
        Value::Object(message) => message,
        other => return Err(format!("{} is no message", kind(&other))),
    };
    if message.contains_key("specversion") {
        return Err("CloudEvents are not understood; set debezium.format.value=json".into());
    }
    let mut schema = None;
    if message.contains_key("payload") && !message.contains_key("op") {
        schema = message.remove("schema").filter(|schema| !schema.is_null()).map(Arc::new);
        message = match message.remove("payload") {
            Some(Value::Object(payload)) => payload,
            Some(Value::Null) => return Ok(Told::Nothing),
            other => return Err(format!("payload: {} is no message", kind_of(other.as_ref()))),
        };
    }
    match (message.get("status").and_then(Value::as_str), message.get("op")) {
        (Some(status @ ("BEGIN" | "END")), None) => boundary(&message, status == "BEGIN"),
        (_, Some(op)) => {
            let op = op.as_str().unwrap_or_default().to_owned();
            event(message, &op, schema, database)
        }
        // A heartbeat says the time and no more.
        (None, None) if message.keys().all(|key| key == "ts_ms" || key == "serverName") => {
            Ok(Told::Nothing)
        }
        _ => Err("it has neither `op` nor `status`: this takes Debezium's own envelope, so leave \
                  transforms such as ExtractNewRecordState (unwrap) out"
            .into()),
    }
}

fn boundary(message: &Map<String, Value>, begins: bool) -> Result<Told, String> {
    let id = message.get("id").and_then(Value::as_str).unwrap_or_default();
    let (xid, at) = transaction(id).ok_or_else(|| {
        format!(
            "id = {id:?}: a transaction is named by its id and position, such as \"571:53195832\"; \
                 Debezium 2.0 or later writes it so"
        )
    })?;
    if begins {
        return Ok(Told::Begin { xid });
    }
    let count = message.get("event_count").and_then(number);
    let count = count.ok_or("event_count: the end of a transaction says how many events it had")?;
    Ok(Told::End { xid, end: at, count })
}

fn event(
    mut message: Map<String, Value>,
    op: &str,
    schema: Option<Arc<Value>>,
    database: &str,
) -> Result<Told, String> {
    let Some(Value::Object(source)) = message.get("source") else {
        return Err("source: it is not said where the event comes from".into());
    };
    let text = |name: &str| source.get(name).and_then(Value::as_str);
    match text("connector") {
        Some("postgresql") => {}
        other => {
            return Err(format!(
                "source.connector = {other:?}: only events of the PostgreSQL connector are understood; \
                 MariaDB is followed through its own log"
            ));
        }
    }
    if let Some(other) = text("db").filter(|db| *db != database) {
        return Err(format!(
            "source.db = {other:?}: this source is the database {database:?}; post the events of \
             others elsewhere"
        ));
    }
    if op == "r" {
        // An incremental snapshot reads beside the stream; any other one begins a stream.
        let incremental = text("snapshot") == Some("incremental");
        return Ok(if incremental { Told::Nothing } else { Told::Snapshot });
    }
    let positions = sequence(source);
    let at = source.get("lsn").and_then(number).map(Lsn).or(positions.1);
    let Some(Value::Object(inside)) = message.get("transaction") else {
        return match (op, at) {
            // One outside of transactions is the last commit itself, as far as Debezium goes.
            ("m", Some(at)) if positions.0.is_none_or(|last| last == at) => Ok(Told::Loose { at }),
            _ => Err(format!("transaction: missing; {METADATA}")),
        };
    };
    let id = inside.get("id").and_then(Value::as_str).unwrap_or_default();
    let xid = transaction(id).map(|(xid, _)| xid);
    let order = inside.get("total_order").and_then(number);
    let (Some(xid), Some(order)) = (xid, order) else {
        return Err(format!(
            "transaction: id {id:?} and total_order are not understood; {METADATA}"
        ));
    };
    let committed_us = source.get("ts_us").and_then(number);
    let committed_us =
        committed_us.or_else(|| Some(source.get("ts_ms").and_then(number)?.saturating_mul(1_000)));
    let table = (text("schema").map(str::to_owned), text("table").map(str::to_owned));
    let what = match op {
        "m" => log_message(&message)?,
        "c" | "u" | "d" | "t" => {
            let (Some(schema_name), Some(table)) = table else {
                return Err(
                    "source.schema, source.table: it is not said which table changed".into()
                );
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
            What::Row(Box::new(RowEvent { table, op, before, after, schema }))
        }
        _ => return Err(format!("op = {op:?}: c, u, d, r, t and m are understood")),
    };
    let committed_us = committed_us.unwrap_or(0);
    Ok(Told::Event(Event { xid, order, after: positions.0, committed_us, what }))
}

fn log_message(message: &Map<String, Value>) -> Result<What, String> {
    let Some(Value::Object(inside)) = message.get("message") else {
        return Err("message: missing from an event with op = \"m\"".into());
    };
    let text = |name: &str| inside.get(name).and_then(Value::as_str).unwrap_or_default();
    let content = STANDARD.decode(text("content")).map_err(|_| {
        "message.content is not base64: leave binary.handling.mode at bytes or base64".to_owned()
    })?;
    Ok(What::Message { prefix: text("prefix").to_owned(), content })
}

/// `source.sequence`: where the last commit ended, and where the event stands. A JSON list of texts, as a
/// text.
fn sequence(source: &Map<String, Value>) -> (Option<Lsn>, Option<Lsn>) {
    let list = match source.get("sequence") {
        Some(Value::String(text)) => serde_json::from_str(text).unwrap_or_default(),
        Some(Value::Array(list)) => list.clone(),
        _ => Vec::new(),
    };
    let position = |at: usize| list.get(at).and_then(number).map(Lsn);
    (position(0), position(1))
}

/// `571:53195832`: the transaction's id, and a position.
fn transaction(id: &str) -> Option<(u32, Lsn)> {
    let (xid, at) = id.split_once(':')?;
    // With the epoch in front of its 32 bits, or without.
    let xid: u64 = xid.parse().ok()?;
    Some((xid as u32, Lsn(at.parse().ok()?)))
}

/// A number, or one that is written as a text.
fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

fn kind_of(value: Option<&Value>) -> &'static str {
    value.map_or("nothing", kind)
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
#[path = "told_tests.rs"]
mod tests;
