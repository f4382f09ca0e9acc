//! Parser of the rows that the triggers write.

use contract::{Cell, Row};
use database::sqlite::canonical_text;
use rusqlite::types::{Value, ValueRef};

/// The encoding of a database's texts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Encoding {
    Utf8,
    Utf16Le,
    Utf16Be,
}

impl Encoding {
    /// Parses the name that SQLite gives it.
    pub(super) fn parse(name: &str) -> Option<Self> {
        match name {
            "UTF-8" => Some(Self::Utf8),
            "UTF-16le" => Some(Self::Utf16Le),
            "UTF-16be" => Some(Self::Utf16Be),
            _ => None,
        }
    }

    fn decode(self, bytes: &[u8]) -> String {
        let units = |unit: fn([u8; 2]) -> u16| {
            let units: Vec<u16> =
                bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]])).collect();
            String::from_utf16_lossy(&units)
        };
        match self {
            Self::Utf8 => String::from_utf8_lossy(bytes).into_owned(),
            Self::Utf16Le => units(u16::from_le_bytes),
            Self::Utf16Be => units(u16::from_be_bytes),
        }
    }
}

/// The columns of a table, and the encoding of their texts.
#[derive(Clone, Copy)]
pub(super) struct RowFormat<'a> {
    pub(super) columns: &'a [String],
    pub(super) encoding: Encoding,
}

impl RowFormat<'_> {
    /// Parses the images of a change, `1,'it''s',NULL` each. Returns `None` if one is malformed or has another
    /// number of values.
    ///
    /// A column whose value has another type than before, but the same text, is left out of the old row: it
    /// has changed.
    pub(super) fn images(
        self,
        old: Option<&str>,
        new: Option<&str>,
    ) -> Option<(Option<Row>, Option<Row>)> {
        let parse = |text: Option<&str>| match text {
            Some(text) => self.values(text).map(Some),
            None => Some(None),
        };
        let (old, new) = (parse(old)?, parse(new)?);
        let cell = |value: &Value| {
            canonical_text(ValueRef::from(value))
                .map_or(Cell::Null, |text| Cell::Text(text.into_owned()))
        };
        let row = |values: &[Value]| -> Vec<(String, Cell)> {
            self.columns.iter().cloned().zip(values.iter().map(cell)).collect()
        };
        let new_row = new.as_deref().map(row);
        let mut old_row = old.as_deref().map(row);
        if let (Some(old_row), Some(new_row), Some(old), Some(new)) =
            (&mut old_row, &new_row, &old, &new)
        {
            let mut at = 0;
            old_row.retain(|(_, cell)| {
                let same_text = *cell == new_row[at].1;
                let same_type = old[at].data_type() == new[at].data_type();
                at += 1;
                same_type || !same_text
            });
        }
        Some((old_row.map(Row::from_iter), new_row.map(Row::from_iter)))
    }

    fn values(self, text: &str) -> Option<Vec<Value>> {
        let mut values = Vec::with_capacity(self.columns.len());
        let mut rest = text;
        for at in 0..self.columns.len() {
            if at > 0 {
                rest = rest.strip_prefix(',')?;
            }
            let value;
            (value, rest) = self.value(rest)?;
            values.push(value);
        }
        rest.is_empty().then_some(values)
    }

    /// Parses one literal. Returns the rest too.
    fn value(self, text: &str) -> Option<(Value, &str)> {
        if let Some(rest) = text.strip_prefix("NULL") {
            return Some((Value::Null, rest));
        }
        if text.starts_with('\'') {
            let (text, rest) = quoted(text)?;
            return Some((Value::Text(text), rest));
        }
        if let Some(rest) = text.strip_prefix('X') {
            let (bytes, rest) = bytes(rest)?;
            return Some((Value::Blob(bytes), rest));
        }
        if let Some(rest) = text.strip_prefix("TX") {
            let (bytes, rest) = bytes(rest)?;
            return Some((Value::Text(self.encoding.decode(&bytes)), rest));
        }
        let (number, rest) = text.split_at(text.find(',').unwrap_or(text.len()));
        let value = match number.parse::<i64>() {
            Ok(integer) => Value::Integer(integer),
            Err(_) => Value::Real(number.parse::<f64>().ok().filter(|real| !real.is_nan())?),
        };
        Some((value, rest))
    }
}

/// Parses `'it''s'`.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut rest = text.strip_prefix('\'')?;
    let mut value = String::new();
    loop {
        let (before, after) = rest.split_once('\'')?;
        value.push_str(before);
        let Some(more) = after.strip_prefix('\'') else { return Some((value, after)) };
        value.push('\'');
        rest = more;
    }
}

/// Parses `'610062'`.
fn bytes(text: &str) -> Option<(Vec<u8>, &str)> {
    let (digits, rest) = text.strip_prefix('\'')?.split_once('\'')?;
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|n| u8::try_from(n).ok());
    let pairs = digits.as_bytes().chunks(2);
    let byte = |pair: &[u8]| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    };
    Some((pairs.map(byte).collect::<Option<_>>()?, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str, count: usize) -> Option<Row> {
        let columns: Vec<_> = (0..count).map(|at| format!("c{at}")).collect();
        let format = RowFormat { columns: &columns, encoding: Encoding::Utf8 };
        format.images(None, Some(text))?.1
    }

    fn texts(row: &Row) -> Vec<Option<&str>> {
        row.iter().map(|(_, cell)| cell.text()).collect()
    }

    #[test]
    fn literals_parsed() {
        let row = parse("42,'it''s, '''' NULL',NULL,'',1.0e+21,X'00FF',TX'610062',-Inf", 8);
        let expected = [
            Some("42"),
            Some("it's, '' NULL"),
            None,
            Some(""),
            Some("1e21"),
            Some("0x00FF"),
            Some("a\0b"),
            Some("-inf"),
        ];
        assert_eq!(texts(&row.expect("a row")), expected);
        assert_eq!(Encoding::Utf16Le.decode(b"a\0\0\0"), "a\0");
        assert_eq!(Encoding::Utf16Be.decode(b"\0a\0\0"), "a\0");
    }

    #[test]
    fn column_with_another_type_has_no_old_value() {
        let columns = ["a", "b"].map(str::to_owned);
        let format = RowFormat { columns: &columns, encoding: Encoding::Utf8 };
        let (old, new) = format.images(Some("'10',1"), Some("10,1")).expect("a change");
        assert_eq!(texts(&old.expect("an old row")), [Some("1")]);
        assert_eq!(texts(&new.expect("a new row")), [Some("10"), Some("1")]);
    }

    #[test]
    fn malformed_literal_rejected() {
        for text in ["'1','2'", "'1", "", "x", "nan", "X'0'", "X'0G'", "TX'00", "NULLS", "1,"] {
            assert_eq!(parse(text, 1), None, "{text}");
        }
        assert_eq!(parse("'1'", 2), None);
    }

    proptest! {
        #[test]
        fn any_text_never_panics(text in ".*", count in 0_usize..5) {
            let _ = parse(&text, count);
        }

        #[test]
        fn quoted_text_round_trip(values in proptest::collection::vec(".*", 1..5)) {
            let quoted: Vec<_> =
                values.iter().map(|value| format!("'{}'", value.replace('\'', "''"))).collect();
            let row = parse(&quoted.join(","), values.len()).expect("a row");
            prop_assert_eq!(texts(&row), values.iter().map(|v| Some(&**v)).collect::<Vec<_>>());
        }
    }
}
