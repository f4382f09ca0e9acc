//! Column values: as text, and in JSON.

use contract::Contract;
use mysql_async::consts::ColumnType;
use mysql_async::{Column, Value};

use crate::origin::error::OriginError;

/// Returns a row as a JSON object.
pub(super) fn json_object(
    contract: &Contract,
    columns: &[Column],
    row: &[Value],
) -> Result<String, OriginError> {
    let mut json = String::from("{");
    for (column, value) in columns.iter().zip(row) {
        if json.len() > 1 {
            json.push(',');
        }
        json += &json_text(&column.name_str());
        json.push(':');
        match text(value) {
            None => json += "null",
            Some(text) if is_number(column, &text) => json += &text,
            Some(_) if is_binary(column) => {
                return Err(OriginError::broken(format!(
                    "contract {}: column {:?} of its `value` is binary; write hex(…) or \
                     to_base64(…)",
                    contract.name,
                    column.name_str()
                )));
            }
            Some(text) => json += &json_text(&text),
        }
    }
    json.push('}');
    Ok(json)
}

/// Returns a value as text. The text protocol sends every value as text.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::Bytes(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        _ => None,
    }
}

fn json_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Whether the text is a number in JSON too. A number with leading zeros is not.
fn is_number(column: &Column, text: &str) -> bool {
    use ColumnType::*;
    let number = matches!(
        column.column_type(),
        MYSQL_TYPE_TINY
            | MYSQL_TYPE_SHORT
            | MYSQL_TYPE_INT24
            | MYSQL_TYPE_LONG
            | MYSQL_TYPE_LONGLONG
            | MYSQL_TYPE_YEAR
            | MYSQL_TYPE_FLOAT
            | MYSQL_TYPE_DOUBLE
            | MYSQL_TYPE_DECIMAL
            | MYSQL_TYPE_NEWDECIMAL
    );
    number && serde_json::from_str::<serde_json::Number>(text).is_ok()
}

/// Whether the value is binary, and its text is not text.
fn is_binary(column: &Column) -> bool {
    use ColumnType::*;
    const BINARY: u16 = 63;
    let bytes = matches!(
        column.column_type(),
        MYSQL_TYPE_STRING
            | MYSQL_TYPE_VAR_STRING
            | MYSQL_TYPE_VARCHAR
            | MYSQL_TYPE_TINY_BLOB
            | MYSQL_TYPE_BLOB
            | MYSQL_TYPE_MEDIUM_BLOB
            | MYSQL_TYPE_LONG_BLOB
            | MYSQL_TYPE_BIT
            | MYSQL_TYPE_GEOMETRY
    );
    bytes && column.character_set() == BINARY
}
