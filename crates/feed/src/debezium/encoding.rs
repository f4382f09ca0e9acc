//! Encodings of values that several connectors share.

use serde_json::Value;

/// Debezium's placeholder for a large value that the log does not contain because it did not change
/// (`unavailable.value.placeholder`).
pub(crate) const UNAVAILABLE: &str = "__debezium_unavailable_value";

/// Returns the schemas of the columns of a row, which is `before` or `after`.
pub(crate) fn columns_of<'a>(schema: Option<&'a Value>, side: &str) -> Option<&'a Vec<Value>> {
    let fields = schema?.get("fields")?.as_array()?;
    schema_of(fields, side)?.get("fields")?.as_array()
}

/// Returns the schema of the field with this name.
pub(crate) fn schema_of<'a>(fields: &'a [Value], name: &str) -> Option<&'a Value> {
    fields.iter().find(|field| field.get("field").and_then(Value::as_str) == Some(name))
}

/// Returns the name of a schema, which says how its values are encoded.
pub(crate) fn schema_name(schema: Option<&Value>) -> Option<&str> {
    schema?.get("name")?.as_str()
}

/// Formats a big-endian two's complement like `numeric(p, scale)`. Up to 127 bits.
pub(crate) fn decimal(bytes: &[u8], scale: usize) -> Option<String> {
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
pub(crate) fn date(days: i64) -> Option<String> {
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
    use super::*;

    #[test]
    fn dates_match_database_text() {
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
            assert_eq!(date(days).as_deref(), shown, "{days}");
        }
    }
}
