//! The envelope around each message.

use std::sync::Arc;

use serde_json::{Map, Value};

/// One message without its wrapping.
#[derive(Debug)]
pub(crate) struct Envelope {
    pub(crate) payload: Map<String, Value>,
    /// The schema, if the message contains it.
    pub(crate) schema: Option<Arc<Value>>,
}

impl Envelope {
    /// Whether it is a heartbeat of Debezium's own, which contains only its time.
    pub(crate) fn is_heartbeat(&self) -> bool {
        self.payload.keys().all(|key| ["ts_ms", "ts_us", "ts_ns", "serverName"].contains(&&**key))
    }
}

/// Parses a body: one message, or a list of messages. `parse` gets `None` for a tombstone.
///
/// # Errors
/// A text that says where the body is malformed, and how to configure Debezium.
pub(crate) fn parse_bodies<M>(
    body: &[u8],
    parse: impl Fn(Option<Envelope>) -> Result<M, String>,
) -> Result<Vec<M>, String> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Vec::new());
    }
    let value: Value = serde_json::from_slice(body)
        .map_err(|err| format!("the body is not JSON: {err}; set debezium.format.value=json"))?;
    let parse_message = |message| parse(unwrap(message)?);
    match value {
        Value::Array(messages) => {
            let numbered = messages.into_iter().enumerate();
            let parsed = numbered.map(|(at, message)| {
                parse_message(message).map_err(|err| format!("message {at}: {err}"))
            });
            parsed.collect()
        }
        message => Ok(vec![parse_message(message)?]),
    }
}

fn unwrap(message: Value) -> Result<Option<Envelope>, String> {
    let mut message = match message {
        Value::Null => return Ok(None),
        Value::Object(message) => message,
        other => return Err(format!("{} is not a message", kind(&other))),
    };
    if message.contains_key("specversion") {
        return Err("CloudEvents are not supported; set debezium.format.value=json".into());
    }
    if !message.contains_key("payload") || message.contains_key("op") {
        return Ok(Some(Envelope { payload: message, schema: None }));
    }
    let schema = message.remove("schema").filter(|schema| !schema.is_null()).map(Arc::new);
    match message.remove("payload") {
        Some(Value::Object(payload)) => Ok(Some(Envelope { payload, schema })),
        Some(Value::Null) => Ok(None),
        other => {
            let found = other.as_ref().map_or("nothing", kind);
            Err(format!("payload: {found} is not a message"))
        }
    }
}

/// Parses a number, also one encoded as a text.
pub(crate) fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
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
