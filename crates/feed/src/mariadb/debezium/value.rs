//! Conversion of a column's value from Debezium's form to the database's text.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use contract::Cell;
use database::mariadb::ColumnDefinition;
use serde_json::Value;

use crate::debezium::{UNAVAILABLE, date, decimal, schema_name};

/// The type of a column, as far as its values can be converted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ValueKind {
    Integer,
    /// `bigint unsigned`
    UnsignedBigint,
    /// With as many digits after the point.
    Decimal(usize),
    Text,
    Date,
    Year,
}

impl ValueKind {
    /// Returns `None` for types without a text in the log, as for a feed that reads the log.
    pub(super) fn of(definition: &ColumnDefinition) -> Option<Self> {
        if !definition.has_logged_text() {
            return None;
        }
        let full_type = &definition.full_type;
        Some(match definition.data_type.as_str() {
            "bigint" if full_type.contains("unsigned") => Self::UnsignedBigint,
            "tinyint" | "smallint" | "mediumint" | "int" | "bigint" => Self::Integer,
            "decimal" => Self::Decimal(scale_of(full_type)?),
            "date" => Self::Date,
            "year" => Self::Year,
            _ => Self::Text,
        })
    }

    /// Returns `None` if the database's text is uncertain. `schema`: the column's schema, if the
    /// message contains it. `of_mysql`: MySQL's connector wrote the message.
    pub(super) fn cell(
        self,
        value: &Value,
        schema: Option<&Value>,
        of_mysql: bool,
    ) -> Option<Cell> {
        let text = match (self, value) {
            // A date that is none, such as 0000-00-00, comes as null, or as 1970-01-01 where the column can't be
            // null.
            (Self::Date, Value::Null) => return None,
            (_, Value::Null) => return Some(Cell::Null),
            (Self::Integer, Value::Number(number)) => number.as_i64()?.to_string(),
            (Self::UnsignedBigint, value) => unsigned(value)?,
            (Self::Decimal(scale), Value::String(text)) => decimal_text(text, schema, scale)?,
            // MySQL's connector writes JSON anew, with other spaces than the server.
            (Self::Text, _) if of_mysql && schema_name(schema) == Some("io.debezium.data.Json") => {
                return None;
            }
            (Self::Text, Value::String(text)) if text == UNAVAILABLE => {
                return Some(Cell::Unchanged);
            }
            (Self::Text, Value::String(text)) => text.clone(),
            (Self::Date, Value::Number(days)) => date(days.as_i64().filter(|days| *days != 0)?)?,
            (Self::Year, Value::Number(year)) => year_text(year.as_u64()?)?,
            _ => return None,
        };
        Some(Cell::Text(text))
    }
}

fn scale_of(full_type: &str) -> Option<usize> {
    let (_, parameters) = full_type.split_once('(')?;
    let (parameters, _) = parameters.split_once(')')?;
    parameters.split_once(',').map_or(Some(0), |(_, scale)| scale.trim().parse().ok())
}

/// `bigint.unsigned.handling.mode`: `long` writes large numbers as negative ones, `precise` in base64.
fn unsigned(value: &Value) -> Option<String> {
    match value {
        Value::Number(number) => {
            let number = number.as_u64().or_else(|| number.as_i64().map(i64::cast_unsigned))?;
            Some(number.to_string())
        }
        Value::String(base64) => decimal(&STANDARD.decode(base64).ok()?, 0),
        _ => None,
    }
}

/// `decimal.handling.mode`: `string` is the database's text; `precise` is a number in base64. Without a schema, only
/// a text with a point is certain to be none in base64. `double` drops digits.
fn decimal_text(text: &str, schema: Option<&Value>, scale: usize) -> Option<String> {
    let has_text_form = || {
        let fraction = text.split_once('.').map_or("", |(_, fraction)| fraction);
        let digits = |b: u8| matches!(b, b'0'..=b'9' | b'.' | b'-');
        text.bytes().all(digits) && fraction.len() == scale
    };
    let Some(schema) = schema else {
        return match scale {
            0 => None,
            _ if text.contains('.') => has_text_form().then(|| text.to_owned()),
            _ => decimal(&STANDARD.decode(text).ok()?, scale),
        };
    };
    match (schema_name(Some(schema)), schema.get("type").and_then(Value::as_str)?) {
        (Some("org.apache.kafka.connect.data.Decimal"), "bytes") => {
            let written: usize = schema.get("parameters")?.get("scale")?.as_str()?.parse().ok()?;
            (written == scale).then(|| decimal(&STANDARD.decode(text).ok()?, scale))?
        }
        // Small numbers come as `1E-7`.
        (None, "string") => has_text_form().then(|| text.to_owned()),
        _ => None,
    }
}

/// The log has no year 1900: it is its offset for the year 0000.
fn year_text(year: u64) -> Option<String> {
    match year {
        0 | 1900 => Some("0000".to_owned()),
        1901..=2155 => Some(year.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn kind(full_type: &str) -> Option<ValueKind> {
        let data_type = full_type.split(['(', ' ']).next().unwrap_or_default().to_owned();
        ValueKind::of(&ColumnDefinition {
            data_type,
            full_type: full_type.to_owned(),
            ..ColumnDefinition::default()
        })
    }

    fn text(full_type: &str, value: &Value, schema: Option<Value>) -> Option<String> {
        match kind(full_type)?.cell(value, schema.as_ref(), false)? {
            Cell::Text(text) => Some(text),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn values_match_database_text() {
        for (full_type, value, expected) in [
            ("int(11)", json!(-42), Some("-42")),
            ("tinyint(1)", json!(1), Some("1")),
            ("tinyint(1)", json!(true), None),
            ("int(11)", json!("42"), None),
            ("bigint(20)", json!(i64::MIN), Some("-9223372036854775808")),
            ("bigint(20) unsigned", json!(7), Some("7")),
            ("bigint(20) unsigned", json!(-1), Some("18446744073709551615")),
            ("bigint(20) unsigned", json!("AP//////////"), Some("18446744073709551615")),
            ("varchar(20)", json!("a b "), Some("a b ")),
            ("enum('s','m')", json!("m"), Some("m")),
            ("enum('s','m')", json!(""), Some("")),
            ("set('a','b')", json!("a,b"), Some("a,b")),
            ("year(4)", json!(2026), Some("2026")),
            ("year(4)", json!(1900), Some("0000")),
            ("year(4)", json!(26), None),
            ("date", json!(20_787), Some("2026-11-30")),
            ("date", json!(0), None),
            ("date", json!("2026-11-30Z"), None),
        ] {
            assert_eq!(text(full_type, &value, None).as_deref(), expected, "{full_type} {value}");
        }
        let null =
            |full_type: &str| kind(full_type).and_then(|it| it.cell(&Value::Null, None, false));
        assert_eq!((null("int(11)"), null("date")), (Some(Cell::Null), None));
        let placeholder = kind("longtext").and_then(|it| it.cell(&json!(UNAVAILABLE), None, false));
        assert_eq!(placeholder, Some(Cell::Unchanged));
        for unsupported in [
            "int(10) unsigned zerofill",
            "float",
            "double",
            "timestamp",
            "time",
            "blob",
            "bit(1)",
            "uuid",
        ] {
            assert_eq!(kind(unsupported), None, "{unsupported}");
        }
    }

    #[test]
    fn decimals_in_both_modes() {
        let precise = |scale: &str| {
            Some(json!({ "type": "bytes", "name": "org.apache.kafka.connect.data.Decimal",
                         "parameters": { "scale": scale, "connect.decimal.precision": "9" } }))
        };
        let string = || Some(json!({ "type": "string" }));
        for (full_type, value, schema, expected) in [
            ("decimal(9,2)", json!("AJY="), precise("2"), Some("1.50")),
            ("decimal(9,2)", json!("AJY="), None, Some("1.50")),
            ("decimal(9,2)", json!("AJY="), precise("1"), None),
            ("decimal(9,2)", json!("1.50"), string(), Some("1.50")),
            ("decimal(9,2)", json!("-0.05"), None, Some("-0.05")),
            ("decimal(9,2)", json!("1.5"), None, None),
            ("decimal(9,0)", json!("1234"), string(), Some("1234")),
            ("decimal(9,0)", json!("1234"), None, None),
            ("decimal(9,7)", json!("1E-7"), string(), None),
            ("decimal(9,2)", json!(1.5), Some(json!({ "type": "double" })), None),
        ] {
            let found = text(full_type, &value, schema);
            assert_eq!(found.as_deref(), expected, "{full_type} {value}");
        }
    }

    #[test]
    fn json_written_anew_has_no_text() {
        let schema = json!({ "type": "string", "name": "io.debezium.data.Json" });
        let kind = kind("longtext").expect("a text");
        let value = json!("{\"a\":1}");
        assert_eq!(kind.cell(&value, Some(&schema), true), None);
        let text = Some(Cell::Text("{\"a\":1}".into()));
        assert_eq!(kind.cell(&value, Some(&schema), false), text);
    }
}
