//! A row change under one contract: the columns that are known, and whether the contract can ignore it.

use serde::Serialize;

use crate::mapping::row::{Cell, JsonForm, Op, Row, RowChange};
use crate::mapping::table::TableMapping;

/// One of the two row images of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Image {
    /// The row before the change.
    Old,
    /// The row after the change.
    New,
}

/// A column in one image of a change.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum ColumnValue<'a> {
    /// A value in the database's text form.
    Text(&'a str),
    /// SQL `NULL`.
    Null,
    /// The feed did not send the column.
    Unknown,
}

impl<'a> From<Option<&'a Cell>> for ColumnValue<'a> {
    fn from(cell: Option<&'a Cell>) -> Self {
        match cell {
            Some(Cell::Text(text)) => ColumnValue::Text(text),
            Some(Cell::Null) => ColumnValue::Null,
            Some(Cell::Unchanged) | None => ColumnValue::Unknown,
        }
    }
}

/// A row change of a table that a contract is made from.
pub(crate) struct ContractChange<'a> {
    pub(crate) table: TableMapping<'a>,
    pub(crate) change: &'a RowChange,
    pub(crate) key_columns: Vec<&'a str>,
}

impl<'a> ContractChange<'a> {
    pub(crate) fn new(table: TableMapping<'a>, change: &'a RowChange) -> Self {
        Self { table, change, key_columns: table.key_columns() }
    }

    /// Returns the value of `column` in one image. An unchanged large column has the value of the other
    /// image, and so has a key column of an update without an old row.
    pub(crate) fn column(&self, image: Image, column: &str) -> ColumnValue<'a> {
        let old = ColumnValue::from(self.change.old.as_ref().and_then(|row| row.get(column)));
        let new_cell = self.change.new.as_ref().and_then(|row: &Row| row.get(column));
        let new = match new_cell {
            Some(Cell::Unchanged) => old,
            cell => ColumnValue::from(cell),
        };
        match image {
            Image::New => new,
            // PostgreSQL omits the old tuple exactly when the replica identity, and so the key, is
            // unchanged.
            Image::Old if self.change.old.is_none() && self.key_columns.contains(&column) => new,
            Image::Old => old,
        }
    }

    /// Returns the value of `column` as names are made of it: in its
    /// [canonical](crate::mapping::row::JsonForm::canonical) text.
    pub(crate) fn canonical(&self, image: Image, column: &str) -> ColumnValue<'a> {
        match self.column(image, column) {
            ColumnValue::Text(text) if JsonForm::is_always_canonical(text) => {
                ColumnValue::Text(text)
            }
            ColumnValue::Text(text) => match self.form(column) {
                Some(form) => ColumnValue::Text(form.canonical(text)),
                None => ColumnValue::Text(text),
            },
            other => other,
        }
    }

    /// Returns the form of a column, if the feed knows it.
    pub(crate) fn form(&self, column: &str) -> Option<JsonForm> {
        self.change.forms.iter().find(|(name, _)| name == column).map(|(_, form)| *form)
    }

    /// Returns the images that the operation has.
    pub(crate) fn images(&self) -> &'static [Image] {
        match self.change.op {
            Op::Insert => &[Image::New],
            Op::Delete => &[Image::Old],
            Op::Update => &[Image::Old, Image::New],
            Op::Truncate => &[],
        }
    }

    /// Returns whether the row keeps its key and no other column of the old row is known. Then names
    /// that are made from the key only are the same in both images.
    pub(crate) fn keeps_key(&self) -> bool {
        self.change.op == Op::Update && self.change.old.is_none()
    }

    /// Returns whether the update provably changes no column that the contract watches.
    pub(crate) fn is_irrelevant(&self) -> bool {
        if self.change.op != Op::Update || self.has_unknown_old_column() {
            return false;
        }
        let watched = self.table.watched_columns();
        !watched.is_empty()
            && watched.into_iter().all(|column| {
                let old = self.column(Image::Old, column);
                // The log marks large columns as unchanged.
                let toast = self.change.new.as_ref().and_then(|row| row.get(column))
                    == Some(&Cell::Unchanged);
                toast || (old != ColumnValue::Unknown && old == self.column(Image::New, column))
            })
    }

    /// Returns whether the first watched column has a new value and no known old one. This is the usual
    /// case under the default replica identity, and cheap to detect.
    fn has_unknown_old_column(&self) -> bool {
        let other = |column: &&String| !self.key_columns.contains(&column.as_str());
        let Some(column) = self.table.from.columns.iter().find(other) else { return false };
        let new = self.change.new.as_ref().and_then(|row| row.get(column));
        new.is_some_and(|cell| *cell != Cell::Unchanged)
            && self.column(Image::Old, column) == ColumnValue::Unknown
    }
}
