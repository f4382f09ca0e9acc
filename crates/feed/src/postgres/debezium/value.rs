//! Conversion of a column's value from Debezium's form to the database's text.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use contract::{Cell, JsonForm};
use serde_json::Value;

/// Debezium's placeholder for a large value that the log does not contain because it did not change
/// (`unavailable.value.placeholder`).
const UNAVAILABLE: &str = "__debezium_unavailable_value";

/// The type of a column, as far as its values can be converted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ValueKind {
    Boolean,
    Integer,
    Numeric,
    Text,
    Json,
    Date,
}

impl ValueKind {
    /// `typtype`: `pg_type.typtype`. For a domain, both values are those of its base type.
    pub(super) fn of(type_oid: u32, typtype: &str) -> Option<Self> {
        match type_oid {
            16 => Some(Self::Boolean),
            20 | 21 | 23 => Some(Self::Integer),
            25 | 1042 | 1043 | 2950 => Some(Self::Text), // text, character, varchar, uuid
            114 | 3802 => Some(Self::Json),
            1082 => Some(Self::Date),
            1700 => Some(Self::Numeric),
            _ if typtype == "e" => Some(Self::Text),
            _ => None,
        }
    }

    /// See [`contract::JsonForms`].
    pub(super) fn form(self) -> Option<JsonForm> {
        match self {
            Self::Boolean => Some(JsonForm::Boolean),
            Self::Integer | Self::Numeric => Some(JsonForm::Number),
            Self::Text => Some(JsonForm::Text),
            Self::Json => Some(JsonForm::Json),
            Self::Date => None,
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
            (Self::Text | Self::Json, Value::String(text)) if text == UNAVAILABLE => {
                return Some(Cell::Unchanged);
            }
            (Self::Text | Self::Json, Value::String(text)) => text.clone(),
            (Self::Numeric, Value::String(text)) => numeric(text, schema?)?,
            (Self::Date, Value::Number(days)) => date(days.as_i64()?)?,
            _ => return None,
        };
        Some(Cell::Text(text))
    }
}

/// `decimal.handling.mode`: `string` is the database's text; `precise` is a number in base64 whose
/// scale is in the schema. Without a schema the two can be confused.
fn numeric(text: &str, schema: &Value) -> Option<String> {
    let name = schema.get("name").and_then(Value::as_str);
    match (name, schema.get("type").and_then(Value::as_str)?) {
        (Some("org.apache.kafka.connect.data.Decimal"), "bytes") => {
            let scale = schema.get("parameters")?.get("scale")?;
            decimal(&STANDARD.decode(text).ok()?, scale.as_str()?.parse().ok()?)
        }
        (None, "string") => Some(text.to_owned()),
        _ => None,
    }
}

/// Formats a big-endian two's complement like `numeric(p, scale)`. Up to 127 bits.
fn decimal(bytes: &[u8], scale: usize) -> Option<String> {
    let first = *bytes.first().filter(|_| bytes.len() <= 16 && scale <= 100)?;
    let sign: i128 = if first & 0x80 == 0 { 0 } else { -1 };
    let unscaled = bytes.iter().fold(sign, |number, byte| number << 8 | i128::from(*byte));
    let digits = format!("{:0>width$}", unscaled.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let minus = if unscaled < 0 { "-" } else { "" };
    let point = if scale > 0 { "." } else { "" };
    Some(format!("{minus}{whole}{point}{fraction}"))
}

/// Formats days since 1970 as `YYYY-MM-DD`; only years of four digits.
fn date(days: i64) -> Option<String> {
    // Days from 0000-03-01, in eras of 400 years (Howard Hinnant, "chrono-compatible low-level date
    // algorithms").
    let days = days.checked_add(719_468)?;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era.checked_mul(400)? + i64::from(month <= 2);
    (1..=9_999).contains(&year).then(|| format!("{year:04}-{month:02}-{day:02}"))
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
        for (days, shown) in [
            (0, Some("1970-01-01")),
            (-1, Some("1969-12-31")),
            (11_016, Some("2000-02-29")),
            (20_513, Some("2026-03-01")),
            (2_932_896, Some("9999-12-31")),
            (2_932_897, None),
            (-719_162, Some("0001-01-01")),
            (-719_163, None),
            (i64::MAX, None),
            (i64::MIN, None),
        ] {
            assert_eq!(converted(ValueKind::Date, json!(days)).as_deref(), shown, "{days}");
        }
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
        let double = json!({ "type": "double" });
        assert_eq!(ValueKind::Numeric.cell(&json!(12.5), Some(&double)), None);
        let too_long = json!(STANDARD.encode([1_u8; 17]));
        assert_eq!(ValueKind::Numeric.cell(&too_long, Some(&precise("2"))), None);
    }

    #[test]
    fn mismatched_type_not_converted() {
        for (kind, value) in [
            (ValueKind::Boolean, json!("t")),
            (ValueKind::Integer, json!(1.5)),
            (ValueKind::Integer, json!("7")),
            (ValueKind::Text, json!(7)),
            (ValueKind::Date, json!("2026-01-01")),
            (ValueKind::Json, json!({ "a": 1 })),
        ] {
            assert_eq!(kind.cell(&value, None), None, "{kind:?} {value}");
        }
    }
}
