//! Rows and row changes as a change feed reports them.

use std::sync::Arc;

/// A column of a row as a change feed reports it, in the database's text form.
///
/// The text form matters: an id from HTTP (`42`) and the same id from the log must be equal bytes;
/// otherwise an invalidation misses its entry. Where equal values have several texts, keys and tags use
/// [`JsonForm::canonical`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Cell {
    /// SQL `NULL`.
    Null,
    /// The column's value in the database's text form (PostgreSQL's output function under fixed settings,
    /// SQLite's `cast(… as text)`).
    Text(String),
    /// Not sent because it is unchanged: an out-of-line (TOAST) column that the update did not touch.
    /// The old row, where known, contains its value.
    Unchanged,
}

impl Cell {
    /// Returns the text, if the cell has one.
    pub fn text(&self) -> Option<&str> {
        match self {
            Cell::Text(text) => Some(text),
            Cell::Null | Cell::Unchanged => None,
        }
    }
}

/// The *known* columns of a row, in the feed's order. Rows of one table share the names.
///
/// A column that is absent is unknown, which is different from [`Cell::Null`]. A feed must leave out
/// columns without a value: PostgreSQL's key-only old tuple (`'K'`) sends every column outside the
/// replica identity as null, and those nulls are not values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row(Vec<(Arc<str>, Cell)>);

impl Row {
    /// Returns a row without known columns.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the cell of `column`, or `None` if the column is unknown.
    pub fn get(&self, column: &str) -> Option<&Cell> {
        self.0.iter().find(|(name, _)| **name == *column).map(|(_, cell)| cell)
    }

    /// Adds a column. The first cell of a name wins in [`Row::get`].
    pub fn push(&mut self, column: impl Into<Arc<str>>, cell: Cell) {
        self.0.push((column.into(), cell));
    }

    /// Returns the known columns in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Cell)> {
        self.0.iter().map(|(name, cell)| (&**name, cell))
    }

    /// Returns the number of known columns.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether no column is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<S: Into<Arc<str>>> FromIterator<(S, Cell)> for Row {
    fn from_iter<I: IntoIterator<Item = (S, Cell)>>(cells: I) -> Self {
        Self(cells.into_iter().map(|(name, cell)| (name.into(), cell)).collect())
    }
}

/// The operation of a row change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// A new row: `new` is known.
    Insert,
    /// A changed row: `new` is known, `old` as far as the replica identity contains it.
    Update,
    /// A deleted row: `old` is known as far as the replica identity contains it.
    Delete,
    /// All rows of the table are deleted: neither is known.
    Truncate,
}

/// The change of one row by one commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowChange {
    /// The source's name in the configuration (`shop` of `[source.shop]`).
    pub source: Arc<str>,
    /// The table: `schema.table`, or only the name for the schema `public`.
    pub table: Arc<str>,
    /// The operation.
    pub op: Op,
    /// The row before the change. Under PostgreSQL's default replica identity it is `None` for an
    /// update that keeps the key, and only the key's columns otherwise.
    pub old: Option<Row>,
    /// The row after the change.
    pub new: Option<Row>,
    /// The JSON forms of the columns, as far as the feed knows them.
    pub forms: JsonForms,
}

/// Columns with the JSON forms of their texts. Shared by all changes of a table.
pub type JsonForms = Arc<[(String, JsonForm)]>;

/// The JSON form of a column's text, and which texts are one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonForm {
    /// A string.
    Text,
    /// A string whose trailing spaces have no meaning (`character(n)`).
    Padded,
    /// A number; text that is not a JSON number, such as `NaN`, becomes a string.
    Number,
    /// A number that the database writes in one way, such as MariaDB's `decimal(10,2)`: `1.50`.
    FixedNumber,
    /// A boolean, from `t` or `f`.
    Boolean,
    /// The text is JSON.
    Json,
}

impl JsonForm {
    /// Returns whether `text` is canonical in every form, as most texts are.
    pub(crate) fn is_always_canonical(text: &str) -> bool {
        !text.ends_with(['0', ' '])
    }

    /// Returns the canonical text of a value: the same for all values that the database takes for equal, so
    /// that each row's keys and tags have one name. `1.50` and `1.5` are one number, and `character(n)`
    /// ignores its padding.
    #[must_use]
    pub fn canonical(self, text: &str) -> &str {
        match self {
            _ if Self::is_always_canonical(text) => text,
            JsonForm::Padded => text.trim_end_matches(' '),
            JsonForm::Number => canonical_number(text),
            JsonForm::Text | JsonForm::FixedNumber | JsonForm::Boolean | JsonForm::Json => text,
        }
    }
}

fn canonical_number(text: &str) -> &str {
    let is_fraction = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    let text = match text.split_once('.') {
        Some((_, fraction)) if is_fraction(fraction) => {
            text.trim_end_matches('0').trim_end_matches('.')
        }
        _ => text,
    };
    // Floating point has two zeros, which are equal.
    if text == "-0" { "0" } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_have_one_canonical_text() {
        for (form, text, canonical) in [
            (JsonForm::Number, "1.50", "1.5"),
            (JsonForm::Number, "1.00", "1"),
            (JsonForm::Number, "-0.50", "-0.5"),
            (JsonForm::Number, "100", "100"),
            (JsonForm::Number, "0", "0"),
            (JsonForm::Number, "0.000", "0"),
            (JsonForm::Number, "-0", "0"),
            (JsonForm::Number, "1.5e+20", "1.5e+20"),
            (JsonForm::Number, "NaN", "NaN"),
            (JsonForm::Padded, "ab   ", "ab"),
            (JsonForm::Padded, " ab", " ab"),
            (JsonForm::Text, "ab ", "ab "),
            (JsonForm::Text, "1.50", "1.50"),
            (JsonForm::Json, "1.50", "1.50"),
            (JsonForm::FixedNumber, "1.50", "1.50"),
        ] {
            assert_eq!(form.canonical(text), canonical, "{form:?} {text:?}");
        }
    }
}
