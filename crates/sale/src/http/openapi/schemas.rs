//! Schemas that several operations use.

use access::openapi::{header_parameter, object, schema};
use serde_json::{Value, json};

use crate::request::{AMOUNT_MAX, KEY_BYTES_MAX, TEXT_BYTES_MAX, UNITS_MAX};
use crate::rules::{HoldEnd, Phase};

/// A text that is not blank and has no control characters.
const PLAIN: &str =
    "^[^\\x00-\\x1f\\x7f-\\x9f]*[^\\s\\x00-\\x1f\\x7f-\\x9f][^\\x00-\\x1f\\x7f-\\x9f]*$";

/// A header's value is trimmed. One in quotes is the text between them, so that `""` is empty.
const KEY: &str = "^(?!\"\"$)[!-~]([ -~]*[!-~])?$";

/// A text of at most `bytes` bytes in UTF-8.
pub(super) fn plain_text(bytes: usize) -> Value {
    json!({
        "type": "string", "minLength": 1, "maxLength": bytes, "pattern": PLAIN,
        "description": format!("1 to {bytes} bytes of UTF-8, not blank, without control characters."),
    })
}

/// A value that may also be null, which is as if it were absent.
pub(super) fn or_null(schema: Value) -> Value {
    json!({ "anyOf": [schema, { "type": "null" }] })
}

/// Returns the header that repeats of a request share.
pub(super) fn idempotency_key() -> Value {
    let description = "The same for repeats of a request, such as a UUID.";
    let schema =
        json!({ "type": "string", "minLength": 1, "maxLength": KEY_BYTES_MAX, "pattern": KEY });
    let mut parameter = header_parameter("Idempotency-Key", description, schema);
    parameter["required"] = true.into();
    parameter
}

pub(super) fn all() -> Vec<(&'static str, Value)> {
    let count = json!({ "type": "integer", "minimum": 0 });
    let phases: Vec<&str> = Phase::ALL.iter().map(|phase| phase.word()).collect();
    let ends = HoldEnd::ALL.map(HoldEnd::word);
    let shortage = object(
        &["sku", "location", "requested", "available"],
        json!({
            "sku": schema("Text"), "location": schema("Text"),
            "requested": schema("Count"), "available": schema("Count"),
        }),
    );
    let price = object(
        &["amount", "currency"],
        json!({ "amount": schema("Amount"), "currency": schema("Currency") }),
    );
    let price_description = "Minor units, such as cents.";
    vec![
        ("Text", json!({ "type": "string" })),
        ("Name", plain_text(TEXT_BYTES_MAX)),
        ("Count", count),
        ("Time", json!({ "type": "string", "format": "date-time" })),
        ("Id", json!({ "type": "string", "pattern": "^[0-9a-fA-F]{32}$" })),
        ("Quantity", json!({ "type": "integer", "minimum": 1, "maximum": UNITS_MAX })),
        (
            "Amount",
            json!({ "type": "integer", "minimum": 1, "maximum": AMOUNT_MAX, "description": price_description }),
        ),
        (
            "Currency",
            json!({ "type": "string", "pattern": "^[A-Z]{3}$", "description": "ISO 4217." }),
        ),
        ("Price", price),
        ("Phase", json!({ "enum": phases })),
        ("HoldEnd", json!({ "enum": ends })),
        ("Shortages", json!({ "type": "array", "items": shortage })),
    ]
}
