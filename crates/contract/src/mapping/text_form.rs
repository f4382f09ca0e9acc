//! The texts that the values of a column's type have in tags.

use std::collections::HashMap;

use crate::mapping::row::JsonForm;
use crate::model::contract::Origin;
use crate::naming::table::without_default_schema;

/// A type of columns, as far as it decides which texts its values have in tags.
///
/// An application writes the tags of its pages itself. A tag in another text than the log's, such as `open-true`
/// for a boolean, is raised by no change.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum TextForm {
    /// `-42`
    Integer,
    /// PostgreSQL's numbers, without zeros at the end: `1.5`, `1e+20`, `NaN`.
    Number,
    /// MariaDB's `decimal` with this number of digits after the point: `1.50`.
    FixedPoint(u32),
    /// PostgreSQL's boolean: `t` or `f`.
    Boolean,
    /// A text without spaces at its end.
    Unpadded,
    /// `a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11`
    Uuid,
    /// `2026-11-30`
    Date,
    /// `10:00:00.5`
    Time,
    /// `2026-11-30 10:00:00.5`
    Timestamp,
    /// `2026-11-30 10:00:00.5+00`
    TimestampUtc,
}

/// The forms of the columns of tables, as far as they are known.
#[derive(Clone, Debug, Default)]
pub struct TextForms(HashMap<[String; 3], TextForm>);

impl TextForms {
    /// Adds the form of a column of `table` in `source`.
    pub fn insert(&mut self, source: &str, table: &str, column: &str, form: TextForm) {
        self.0.insert(Self::name(source, table, column), form);
    }

    /// Adds the forms of other tables.
    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Returns the form of a column of a contract's table.
    #[must_use]
    pub fn get(&self, from: &Origin, column: &str) -> Option<TextForm> {
        self.0.get(&Self::name(&from.source, &from.table, column)).copied()
    }

    fn name(source: &str, table: &str, column: &str) -> [String; 3] {
        [source, without_default_schema(table), column].map(str::to_owned)
    }
}

impl TextForm {
    /// Returns the form of a PostgreSQL type (`pg_type.oid`); `None`: its values may have any text, or it is not
    /// known which. `is_domain`: the log does not know the base type of a domain.
    #[must_use]
    pub fn of_postgres_type(type_oid: u32, is_domain: bool) -> Option<Self> {
        match type_oid {
            16 => Some(Self::Boolean),
            20 | 21 | 23 | 26 => Some(Self::Integer),
            700 | 701 | 1700 if !is_domain => Some(Self::Number),
            1042 if !is_domain => Some(Self::Unpadded),
            1082 => Some(Self::Date),
            1083 => Some(Self::Time),
            1114 => Some(Self::Timestamp),
            1184 => Some(Self::TimestampUtc),
            2950 => Some(Self::Uuid),
            _ => None,
        }
    }

    /// Returns the form of a MariaDB type, such as `decimal(10,2)`.
    #[must_use]
    pub fn of_mariadb_type(full_type: &str) -> Option<Self> {
        let (name, arguments) = full_type.split_once('(').unwrap_or((full_type, ""));
        match name.split(' ').next().unwrap_or_default() {
            _ if full_type.contains("zerofill") => None,
            "tinyint" | "smallint" | "mediumint" | "int" | "bigint" => Some(Self::Integer),
            "decimal" => {
                let (_, scale) = arguments.split_once(')')?.0.split_once(',')?;
                Some(Self::FixedPoint(scale.trim().parse().ok()?))
            }
            "char" => Some(Self::Unpadded),
            "date" => Some(Self::Date),
            _ => None,
        }
    }

    /// Returns the form of a column that SQLite declares so. Other columns may hold values of any type.
    #[must_use]
    pub fn of_sqlite_type(declared: &str) -> Option<Self> {
        let declared = declared.to_ascii_uppercase();
        (declared.contains("INT") || declared.contains("BOOL")).then_some(Self::Integer)
    }

    /// Returns whether the log may write a value in this text.
    #[must_use]
    pub fn accepts(self, text: &str) -> bool {
        match self {
            Self::Integer => is_integer(text),
            Self::Number => is_number(text),
            Self::FixedPoint(0) => is_integer(text),
            Self::FixedPoint(scale) => text.split_once('.').is_some_and(|(whole, fraction)| {
                is_integer_or_minus_zero(whole)
                    && is_digits(fraction)
                    && fraction.len() == scale as usize
            }),
            Self::Boolean => matches!(text, "t" | "f"),
            Self::Unpadded => !text.ends_with(' '),
            Self::Uuid => is_uuid(text),
            Self::Date => is_infinite(text) || is_date(era(text)),
            Self::Time => is_time(text),
            Self::Timestamp => is_infinite(text) || is_timestamp(era(text)),
            Self::TimestampUtc => {
                is_infinite(text) || era(text).strip_suffix("+00").is_some_and(is_timestamp)
            }
        }
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_integer(text: &str) -> bool {
    text != "-0" && is_integer_or_minus_zero(text)
}

fn is_integer_or_minus_zero(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    is_digits(digits) && (digits == "0" || !digits.starts_with('0'))
}

fn is_number(text: &str) -> bool {
    if matches!(text, "NaN" | "Infinity" | "-Infinity") {
        return true;
    }
    let (number, exponent) = text.split_once('e').map_or((text, None), |(n, e)| (n, Some(e)));
    let (whole, fraction) = number.split_once('.').map_or((number, None), |(w, f)| (w, Some(f)));
    is_integer_or_minus_zero(whole)
        && fraction.is_none_or(is_digits)
        && exponent.is_none_or(|digits| digits.strip_prefix(['+', '-']).is_some_and(is_digits))
        && JsonForm::Number.canonical(text) == text
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        })
}

fn is_infinite(text: &str) -> bool {
    matches!(text, "infinity" | "-infinity")
}

/// Returns the text without the mark of a year before 1.
fn era(text: &str) -> &str {
    text.strip_suffix(" BC").unwrap_or(text)
}

fn is_date(text: &str) -> bool {
    let mut parts = text.rsplitn(3, '-');
    let mut digits = || parts.next().filter(|part| is_digits(part)).map(str::len);
    let (day, month, year) = (digits(), digits(), digits());
    day == Some(2) && month == Some(2) && year.is_some_and(|year| year >= 4)
}

fn is_time(text: &str) -> bool {
    let (time, fraction) = text.split_once('.').map_or((text, None), |(t, f)| (t, Some(f)));
    let mut parts = time.split(':');
    let is_part = |part: Option<&str>| part.is_some_and(|part| part.len() == 2 && is_digits(part));
    (0..3).all(|_| is_part(parts.next()))
        && parts.next().is_none()
        && fraction.is_none_or(|digits| is_digits(digits) && !digits.ends_with('0'))
}

fn is_timestamp(text: &str) -> bool {
    text.split_once(' ').is_some_and(|(date, time)| is_date(date) && is_time(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_text_of_the_log_accepted() {
        use TextForm::*;
        for (form, good, bad) in [
            (
                Integer,
                &["0", "-42", "42"][..],
                &["042", "+42", "42 ", "4.0", "", "-", "-0", "true"][..],
            ),
            (
                Number,
                &["0", "1.5", "-0.5", "100", "1e+20", "1.5e-07", "NaN", "-Infinity"],
                &["1.50", "1.0", "01", ".5", "1.", "-0", "nan", "inf", "1e20", "1,5", "0.0"],
            ),
            (FixedPoint(2), &["1.50", "-0.50", "0.00"], &["1.5", "1", "1.500", "01.50", ".50"]),
            (FixedPoint(0), &["7"], &["7.0", "07"]),
            (Boolean, &["t", "f"], &["true", "false", "1", "T", ""]),
            (Unpadded, &["ab", " ab", ""], &["ab "]),
            (
                Uuid,
                &["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"],
                &[
                    "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
                    "a0eebc999c0b4ef8bb6d6bb9bd380a11",
                    "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}",
                ],
            ),
            (
                Date,
                &["2026-11-30", "10000-01-01", "0044-03-15 BC", "infinity"],
                &["30.11.2026", "2026-11-3", "26-11-30", "2026-11-30T00:00:00Z", "20261130"],
            ),
            (Time, &["10:00:00", "10:00:00.5"], &["10:00", "10:00:00.50", "10:00:00.", "9:00:00"]),
            (
                Timestamp,
                &["2026-11-30 10:00:00.5", "-infinity"],
                &["2026-11-30T10:00:00", "2026-11-30 10:00:00+00", "2026-11-30"],
            ),
            (
                TimestampUtc,
                &["2026-11-30 10:00:00+00", "0044-03-15 10:00:00+00 BC"],
                &["2026-11-30 10:00:00", "2026-11-30 11:00:00+01", "2026-11-30T10:00:00Z"],
            ),
        ] {
            for text in good {
                assert!(form.accepts(text), "{form:?} {text:?}");
            }
            for text in bad {
                assert!(!form.accepts(text), "{form:?} {text:?}");
            }
        }
    }

    #[test]
    fn types_have_their_forms() {
        use TextForm::*;
        for (name, form) in [
            ("int(10) unsigned", Some(Integer)),
            ("tinyint(1)", Some(Integer)),
            ("int(10) unsigned zerofill", None),
            ("decimal(10,2)", Some(FixedPoint(2))),
            ("decimal(7,0) unsigned", Some(FixedPoint(0))),
            ("varchar(20)", None),
            ("char(4)", Some(Unpadded)),
            ("date", Some(Date)),
            ("datetime(6)", None),
        ] {
            assert_eq!(TextForm::of_mariadb_type(name), form, "{name}");
        }
        assert_eq!(TextForm::of_sqlite_type("bigint"), Some(Integer));
        assert_eq!(TextForm::of_sqlite_type("Boolean"), Some(Integer));
        assert_eq!(TextForm::of_sqlite_type("text"), None);
        assert_eq!(TextForm::of_postgres_type(16, true), Some(Boolean));
        assert_eq!(TextForm::of_postgres_type(1700, true), None, "the log writes `3.10`");
        assert_eq!(TextForm::of_postgres_type(25, false), None);
    }
}
