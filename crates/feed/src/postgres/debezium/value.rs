//! Conversion of a column's value from Debezium's form to the database's text.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use contract::Cell;
use database::postgres::ColumnType;
use serde_json::Value;

use super::time;
use crate::debezium::{UNAVAILABLE, date, decimal, schema_name};

/// The type of a column, as far as its values can be converted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ValueKind {
    Boolean,
    Integer,
    Numeric,
    /// A text, or a type whose text Debezium passes on.
    Text,
    Bytes,
    Date,
    Time,
    Timestamp,
    TimestampWithZone,
}

impl ValueKind {
    pub(super) fn of(column: &ColumnType) -> Option<Self> {
        match column.base {
            16 => Some(Self::Boolean),
            17 => Some(Self::Bytes),
            20 | 21 | 23 | 26 => Some(Self::Integer), // bigint, smallint, integer, oid
            25 | 1042 | 1043 | 2950 => Some(Self::Text), // text, character, varchar, uuid
            114 | 3802 => Some(Self::Text),           // json, jsonb
            650 | 774 | 829 | 869 => Some(Self::Text), // cidr, macaddr8, macaddr, inet
            1082 => Some(Self::Date),
            1083 => Some(Self::Time),
            1114 => Some(Self::Timestamp),
            1184 => Some(Self::TimestampWithZone),
            1700 => Some(Self::Numeric),
            _ if column.is_enum => Some(Self::Text),
            _ => None,
        }
    }

    /// Returns `None` if the database's text is uncertain. `schema`: the column's schema, if the
    /// message contains it.
    pub(super) fn cell(self, value: &Value, schema: Option<&Value>) -> Option<Cell> {
        if value.is_null() {
            return Some(Cell::Null);
        }
        let text = match (self, value) {
            (Self::Boolean, Value::Bool(yes)) => if *yes { "t" } else { "f" }.to_owned(),
            (Self::Integer, Value::Number(number)) => number.as_i64()?.to_string(),
            (Self::Text, Value::String(text)) if text == UNAVAILABLE => {
                return Some(Cell::Unchanged);
            }
            (Self::Text, Value::String(text)) => text.clone(),
            (Self::Bytes, Value::String(base64)) => match STANDARD.decode(base64).ok()? {
                bytes if bytes == UNAVAILABLE.as_bytes() => return Some(Cell::Unchanged),
                bytes => hexadecimal(&bytes),
            },
            (Self::Numeric, value) => numeric(value, schema)?,
            (Self::Date, Value::Number(days)) => date(days.as_i64()?)?,
            (Self::Time, Value::Number(number)) => {
                time::time_of_day(micros(number.as_i64()?, schema_name(schema)?, TIMES)?)?
            }
            (Self::Timestamp, Value::Number(number)) => {
                time::timestamp(micros(number.as_i64()?, schema_name(schema)?, TIMESTAMPS)?)?
            }
            (Self::TimestampWithZone, Value::String(text)) => time::with_zone(text)?,
            _ => return None,
        };
        Some(Cell::Text(text))
    }
}

/// The schemas' names by `time.precision.mode`, with their units. `connect` is left out: it drops digits.
type Units = [(&'static str, Unit); 3];

#[derive(Clone, Copy)]
enum Unit {
    Milliseconds,
    Microseconds,
    Nanoseconds,
}

const TIMES: Units = [
    ("io.debezium.time.Time", Unit::Milliseconds),
    ("io.debezium.time.MicroTime", Unit::Microseconds),
    ("io.debezium.time.NanoTime", Unit::Nanoseconds),
];

const TIMESTAMPS: Units = [
    ("io.debezium.time.Timestamp", Unit::Milliseconds),
    ("io.debezium.time.MicroTimestamp", Unit::Microseconds),
    ("io.debezium.time.NanoTimestamp", Unit::Nanoseconds),
];

/// Returns microseconds. Without the name of the schema, the unit of a number is unknown.
fn micros(number: i64, schema: &str, units: Units) -> Option<i64> {
    let (_, unit) = units.into_iter().find(|(name, _)| *name == schema)?;
    match unit {
        Unit::Milliseconds => number.checked_mul(1_000),
        Unit::Microseconds => Some(number),
        Unit::Nanoseconds => (number % 1_000 == 0).then_some(number / 1_000),
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(r"\x".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}

/// `decimal.handling.mode`: `string` is the database's text; `precise` is a number in base64 whose scale is in
/// the schema, or beside it where the column has none. Without a schema a text may be either.
fn numeric(value: &Value, schema: Option<&Value>) -> Option<String> {
    let text = match value {
        Value::Object(parts) => {
            let scale = usize::try_from(parts.get("scale")?.as_u64()?).ok()?;
            return decimal(&STANDARD.decode(parts.get("value")?.as_str()?).ok()?, scale);
        }
        Value::String(text) => text,
        // `double` drops digits.
        _ => return None,
    };
    let schema = schema?;
    match (schema_name(Some(schema)), schema.get("type").and_then(Value::as_str)?) {
        (Some("org.apache.kafka.connect.data.Decimal"), "bytes") => {
            let scale = schema.get("parameters")?.get("scale")?;
            decimal(&STANDARD.decode(text).ok()?, scale.as_str()?.parse().ok()?)
        }
        // Small numbers come as `1E-7`, and numbers that are none in words of Debezium's own.
        (None, "string") if text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'.' | b'-')) => {
            Some(text.to_owned())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text(kind: ValueKind, value: Value, schema: Value) -> Option<String> {
        match kind.cell(&value, Some(&schema))? {
            Cell::Text(text) => Some(text),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn values_match_database_text() {
        let plain = json!({});
        let converted = |kind, value| text(kind, value, plain.clone());
        assert_eq!(converted(ValueKind::Boolean, json!(true)).as_deref(), Some("t"));
        assert_eq!(converted(ValueKind::Integer, json!(-42)).as_deref(), Some("-42"));
        assert_eq!(converted(ValueKind::Text, json!("a b")).as_deref(), Some("a b"));
        assert_eq!(ValueKind::Text.cell(&Value::Null, None), Some(Cell::Null));
        assert_eq!(ValueKind::Text.cell(&json!(UNAVAILABLE), None), Some(Cell::Unchanged));
    }

    #[test]
    fn decimals_in_both_modes() {
        let precise = |scale: &str| {
            json!({ "type": "bytes", "name": "org.apache.kafka.connect.data.Decimal",
                    "parameters": { "scale": scale } })
        };
        for (base64, scale, shown) in [
            ("BNI=", "2", "12.34"),
            ("BNI=", "0", "1234"),
            ("+y4=", "2", "-12.34"),
            ("AQ==", "3", "0.001"),
            ("/w==", "1", "-0.1"),
            ("AA==", "2", "0.00"),
        ] {
            let value = text(ValueKind::Numeric, json!(base64), precise(scale));
            assert_eq!(value.as_deref(), Some(shown), "{base64} {scale}");
        }
        let string = json!({ "type": "string" });
        assert_eq!(text(ValueKind::Numeric, json!("1234"), string).as_deref(), Some("1234"));
        assert_eq!(
            ValueKind::Numeric.cell(&json!("1234"), None),
            None,
            "ambiguous without a schema"
        );
        let string = json!({ "type": "string" });
        for other in ["1E-7", "NAN", "POSITIVE_INFINITY"] {
            assert_eq!(ValueKind::Numeric.cell(&json!(other), Some(&string)), None, "{other}");
        }
        let own_scale = json!({ "scale": 3, "value": "AQ==" });
        let cell = ValueKind::Numeric.cell(&own_scale, None);
        assert_eq!(cell, Some(Cell::Text("0.001".into())), "needs no schema");
        let double = json!({ "type": "double" });
        assert_eq!(ValueKind::Numeric.cell(&json!(12.5), Some(&double)), None);
        let too_long = json!(STANDARD.encode([1_u8; 17]));
        assert_eq!(ValueKind::Numeric.cell(&too_long, Some(&precise("2"))), None);
    }

    #[test]
    fn times_need_the_name_of_their_unit() {
        let named = |name: &str| json!({ "name": name });
        for (kind, value, name, shown) in [
            (ValueKind::Time, 3_661_500_i64, "io.debezium.time.Time", Some("01:01:01.5")),
            (ValueKind::Time, 3_661_500_000, "io.debezium.time.MicroTime", Some("01:01:01.5")),
            (
                ValueKind::Timestamp,
                1_500,
                "io.debezium.time.Timestamp",
                Some("1970-01-01 00:00:01.5"),
            ),
            (
                ValueKind::Timestamp,
                1_500,
                "io.debezium.time.MicroTimestamp",
                Some("1970-01-01 00:00:00.0015"),
            ),
            (ValueKind::Timestamp, 1_500, "io.debezium.time.NanoTimestamp", None),
            (ValueKind::Timestamp, 1_500, "org.apache.kafka.connect.data.Timestamp", None),
        ] {
            assert_eq!(text(kind, json!(value), named(name)).as_deref(), shown, "{kind:?} {name}");
            assert_eq!(kind.cell(&json!(value), None), None, "{kind:?}");
        }
        let zoned = ValueKind::TimestampWithZone.cell(&json!("2026-01-01T10:00:00.5Z"), None);
        assert_eq!(zoned, Some(Cell::Text("2026-01-01 10:00:00.5+00".into())));
    }

    #[test]
    fn bytes_written_as_hexadecimal() {
        let cell = |text: &str| ValueKind::Bytes.cell(&json!(text), None);
        assert_eq!(cell("AP8="), Some(Cell::Text(r"\x00ff".into())));
        assert_eq!(cell(&STANDARD.encode(UNAVAILABLE)), Some(Cell::Unchanged));
    }

    #[test]
    fn mismatched_type_not_converted() {
        for (kind, value) in [
            (ValueKind::Boolean, json!("t")),
            (ValueKind::Integer, json!(1.5)),
            (ValueKind::Integer, json!("7")),
            (ValueKind::Text, json!(7)),
            (ValueKind::Date, json!("2026-01-01")),
            (ValueKind::Bytes, json!("not base64!")),
        ] {
            assert_eq!(kind.cell(&value, None), None, "{kind:?} {value}");
        }
    }
}
