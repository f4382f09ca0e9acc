//! Key columns, and the one way in which the database writes each of their values.

use std::sync::Arc;

use database::quoting::mariadb_literal;
use mysql_async::Column;
use mysql_async::consts::{ColumnFlags, ColumnType};

/// A key column as the server describes it with each result: an altered column has another shape.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct KeyShape {
    kind: ColumnType,
    length: u32,
    flags: ColumnFlags,
}

impl KeyShape {
    /// Returns the shape of a result's column.
    pub(super) fn of(column: &Column) -> Self {
        let relevant =
            ColumnFlags::UNSIGNED_FLAG | ColumnFlags::ZEROFILL_FLAG | ColumnFlags::BINARY_FLAG;
        Self {
            kind: column.column_type(),
            length: column.column_length(),
            flags: column.flags() & relevant,
        }
    }
}

/// The type of a key column.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum KeyType {
    /// An integer.
    Integer { bits: u32, unsigned: bool },
    /// A text with a binary collation.
    Text,
    /// An enum with these labels. Its collation may take other texts for equal to one of them.
    Label(Arc<[String]>),
}

impl KeyType {
    /// Returns the type for a column type and a collation. `None`: equal values of the type can be written in
    /// several ways.
    pub(super) fn of(kind: &str, collation: &str) -> Option<Self> {
        if kind.contains("zerofill") {
            return None;
        }
        let name = kind.split(['(', ' ']).next().unwrap_or_default();
        let unsigned = kind.ends_with("unsigned");
        let integer = |bits| Some(Self::Integer { bits, unsigned });
        match name {
            "tinyint" => integer(8),
            "smallint" => integer(16),
            "mediumint" => integer(24),
            "int" => integer(32),
            "bigint" => integer(64),
            "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext"
                if collation.ends_with("_bin") =>
            {
                Some(Self::Text)
            }
            "enum" => labels(kind).map(|labels| Self::Label(labels.into())),
            _ => None,
        }
    }

    /// Whether equal values of both types have the same texts.
    pub(super) fn has_texts_of(&self, other: &Self) -> bool {
        let is_number = |kind: &Self| matches!(kind, Self::Integer { .. });
        is_number(self) == is_number(other)
    }

    /// Returns an id that the type takes, whether or not there is a row of it.
    pub(super) fn any_id(&self) -> &str {
        match self {
            Self::Integer { .. } => "1",
            Self::Text => "",
            Self::Label(labels) => labels.first().map_or("", String::as_str),
        }
    }

    /// Whether the database writes the id exactly like this.
    pub(super) fn writes(&self, id: &str) -> bool {
        match self {
            // The database ignores trailing spaces, and so do its comparisons.
            Self::Text => !id.ends_with(' '),
            Self::Label(labels) => labels.iter().any(|label| label == id),
            Self::Integer { bits, unsigned } => {
                let Ok(number) = id.parse::<i128>() else { return false };
                let (least, most) = match *unsigned {
                    true => (0, (1 << bits) - 1),
                    false => (-(1_i128 << (bits - 1)), (1 << (bits - 1)) - 1),
                };
                number.to_string() == id && (least..=most).contains(&number)
            }
        }
    }

    /// Returns the id as an SQL literal. The database must [write](Self::writes) the id like this.
    pub(super) fn literal(&self, id: &str) -> String {
        match self {
            Self::Integer { .. } => format!("({id})"),
            Self::Text | Self::Label(_) => mariadb_literal(id),
        }
    }

    /// Returns the SQL expression by which keys are ordered; `column` is the key column.
    pub(super) fn order(&self, column: &str) -> String {
        match self {
            Self::Integer { .. } | Self::Text => column.to_owned(),
            // The server sorts labels by their numbers and compares them as texts.
            Self::Label(_) => format!("{column} + 0"),
        }
    }

    /// Returns the place of an id in that order, as an SQL literal.
    pub(super) fn order_literal(&self, id: &str) -> String {
        match self {
            Self::Integer { .. } | Self::Text => self.literal(id),
            Self::Label(labels) => {
                let at = labels.iter().position(|label| label == id);
                at.map_or(0, |at| at + 1).to_string()
            }
        }
    }
}

/// Returns the labels of `enum('a','b''c')`; `None` if one has a backslash, before which the catalogue writes another.
fn labels(kind: &str) -> Option<Vec<String>> {
    let list = kind.strip_prefix("enum('")?.strip_suffix("')")?;
    if list.contains('\\') {
        return None;
    }
    // A label may contain `','` only with its quotes doubled.
    let (mut labels, mut rest) = (vec![String::new()], list);
    while let Some((part, after)) = rest.split_once('\'') {
        let label = labels.last_mut()?;
        label.push_str(part);
        if let Some(after) = after.strip_prefix('\'') {
            label.push('\'');
            rest = after;
        } else {
            labels.push(String::new());
            rest = after.strip_prefix(",'")?;
        }
    }
    labels.last_mut()?.push_str(rest);
    Some(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_labels_are_ids() {
        let of = |kind: &str| KeyType::of(kind, "utf8mb4_general_ci");
        let status = of("enum('open','it''s',',''','é','')").expect("an enum");
        for id in ["open", "it's", ",'", "é"] {
            assert!(status.writes(id), "{id:?}");
        }
        for id in ["Open", "open ", "e", "1", "it''s", "open','it"] {
            assert!(!status.writes(id), "{id:?}");
        }
        assert_eq!((status.any_id(), &*status.literal("é")), ("open", "_utf8mb4 x'c3a9'"));
        assert_eq!((&*status.order("`s`"), &*status.order_literal("it's")), ("`s` + 0", "2"));
        assert_eq!(of("enum('a''')").expect("an enum").any_id(), "a'");
        for malformed in ["enum('a", "enum('a'b')", "enum()"] {
            assert_eq!(of(malformed), None, "{malformed}");
        }
    }

    #[test]
    fn id_in_another_notation_refused() {
        let key = |kind, collation| KeyType::of(kind, collation).expect(kind);
        let int = key("int(11)", "");
        for (id, good) in
            [("42", true), ("-1", true), ("042", false), ("+42", false), ("42 ", false)]
        {
            assert_eq!(int.writes(id), good, "{id:?}");
        }
        assert!(int.writes("2147483647") && !int.writes("2147483648"));
        assert!(!key("tinyint(3) unsigned", "").writes("-1"));
        assert!(key("bigint(20) unsigned", "").writes("18446744073709551615"));
        let text = key("varchar(20)", "utf8mb4_bin");
        assert!(text.writes("A b") && !text.writes("a "));
        assert_eq!(text.literal("a'"), "_utf8mb4 x'6127'");
        assert_eq!(int.literal("-1"), "(-1)");
        for (kind, collation) in [
            ("varchar(20)", "utf8mb4_general_ci"),
            ("int(10) unsigned zerofill", ""),
            ("decimal(10,2)", ""),
            ("datetime", ""),
            ("enum('a','b\\\\c')", "utf8mb4_bin"),
            ("set('a')", "utf8mb4_bin"),
        ] {
            assert_eq!(KeyType::of(kind, collation), None, "{kind}");
        }
    }
}
