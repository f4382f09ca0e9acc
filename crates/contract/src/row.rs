use std::sync::Arc;

/// One column of a row as a change feed reports it, in the database's text form.
///
/// The text form matters: a key read over HTTP (`42`) and a key read from the log must be the same
/// bytes, or an invalidation misses its entry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Cell {
    /// SQL `NULL`.
    Null,
    /// The column's value in the database's text form (PostgreSQL's output function, SQLite's
    /// `cast(… as text)`).
    Text(String),
    /// Not sent because it did not change: an out-of-line (TOAST) column that the update left
    /// alone. The old row, where known, still tells its value.
    Unchanged,
}

impl Cell {
    /// The text, where there is one.
    pub fn text(&self) -> Option<&str> {
        match self {
            Cell::Text(text) => Some(text),
            Cell::Null | Cell::Unchanged => None,
        }
    }
}

/// The columns of a row that are *known*, in the feed's order. Rows of one table share the names.
///
/// A column that is absent is unknown, which is not the same as [`Cell::Null`]. A feed must leave
/// out what it was not told: PostgreSQL's key-only old tuple (`'K'`) sends every column outside the
/// replica identity as null, and those nulls are not values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row(Vec<(Arc<str>, Cell)>);

impl Row {
    /// A row of which nothing is known yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The cell of `column`, or `None` where the column is unknown.
    pub fn get(&self, column: &str) -> Option<&Cell> {
        self.0.iter().find(|(name, _)| **name == *column).map(|(_, cell)| cell)
    }

    /// Adds a column. The first cell of a name wins in [`Row::get`].
    pub fn push(&mut self, column: impl Into<Arc<str>>, cell: Cell) {
        self.0.push((column.into(), cell));
    }

    /// The known columns in the order they were added.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Cell)> {
        self.0.iter().map(|(name, cell)| (&**name, cell))
    }

    /// How many columns are known.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<S: Into<Arc<str>>> FromIterator<(S, Cell)> for Row {
    fn from_iter<I: IntoIterator<Item = (S, Cell)>>(cells: I) -> Self {
        Self(cells.into_iter().map(|(name, cell)| (name.into(), cell)).collect())
    }
}

/// What a commit did to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// A row appeared: `new` is known.
    Insert,
    /// A row changed: `new` is known, `old` as far as the replica identity gives it.
    Update,
    /// A row went: `old` is known as far as the replica identity gives it.
    Delete,
    /// The table was emptied: neither is known.
    Truncate,
}

/// One row changed by one commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowChange {
    /// The source's name in the configuration (`shop` of `[source.shop]`).
    pub source: Arc<str>,
    /// The table, `schema.table` or bare; a bare name means the schema `public`.
    pub table: Arc<str>,
    /// What happened.
    pub op: Op,
    /// The row before. Under PostgreSQL's default replica identity it is `None` for an update that
    /// left the key alone, and only the key's columns otherwise.
    pub old: Option<Row>,
    /// The row after.
    pub new: Option<Row>,
    /// How the columns' texts are JSON, for those of which the feed knows.
    pub forms: Forms,
}

/// Columns and how their texts are JSON. Shared by all changes of a table.
pub type Forms = Arc<[(String, JsonForm)]>;

/// How a column's text form becomes JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonForm {
    /// A string.
    Text,
    /// A number, where it is one (`NaN` is written as a string).
    Number,
    /// `t` or `f`.
    Boolean,
    /// JSON already.
    Json,
}
