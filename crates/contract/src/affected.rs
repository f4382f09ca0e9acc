//! From a committed row change to what it invalidates.

use serde::Serialize;

use crate::contract::{Contract, Origin};
use crate::key::Key;
use crate::row::{Cell, Op, Row, RowChange};
use crate::tag::Tag;

/// What one row change invalidates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Affected {
    /// Entries by key, each once.
    pub keys: Vec<Key>,
    /// Entries by tag, each once.
    pub tags: Vec<Tag>,
    /// Everything must go: the table was emptied, or a row's key is unknown.
    pub everything: bool,
    /// What could not be named because the log did not tell a column's value.
    pub incomplete: Vec<Incomplete>,
}

/// A key or tag that a row change touches but that could not be named.
///
/// For the old row of an update or delete this is what the table's replica identity leaves out;
/// `ALTER TABLE … REPLICA IDENTITY FULL` mends it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Incomplete {
    /// The contract.
    pub contract: String,
    /// The key or tag template.
    pub template: String,
    /// The column whose value is unknown.
    pub column: String,
    /// Which side of the change it is unknown on.
    pub image: Image,
}

/// A side of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Image {
    /// The row before.
    Old,
    /// The row after.
    New,
}

impl Affected {
    /// Whether the change invalidates nothing and nothing is in doubt.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
            && self.tags.is_empty()
            && !self.everything
            && self.incomplete.is_empty()
    }

    /// Adds what `other` invalidates.
    pub fn merge(&mut self, other: Self) {
        extend_new(&mut self.keys, other.keys);
        extend_new(&mut self.tags, other.tags);
        extend_new(&mut self.incomplete, other.incomplete);
        self.everything |= other.everything;
    }
}

// The lists have a handful of items; a set would cost more than it saves.
fn extend_new<T: PartialEq>(list: &mut Vec<T>, items: impl IntoIterator<Item = T>) {
    for item in items {
        if !list.contains(&item) {
            list.push(item);
        }
    }
}

/// What is known of a column on one side of a change.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known<'a> {
    Value(&'a str),
    Null,
    Unknown,
}

impl<'a> From<Option<&'a Cell>> for Known<'a> {
    fn from(cell: Option<&'a Cell>) -> Self {
        match cell {
            Some(Cell::Text(text)) => Known::Value(text),
            Some(Cell::Null) => Known::Null,
            Some(Cell::Unchanged) | None => Known::Unknown,
        }
    }
}

/// A change seen by one contract.
pub(crate) struct View<'a> {
    pub(crate) contract: &'a Contract,
    pub(crate) change: &'a RowChange,
    pub(crate) key_columns: Vec<&'a str>,
}

impl<'a> View<'a> {
    pub(crate) fn column(&self, image: Image, column: &str) -> Known<'a> {
        let old = Known::from(self.change.old.as_ref().and_then(|row| row.get(column)));
        let new_cell = self.change.new.as_ref().and_then(|row: &Row| row.get(column));
        let new = match new_cell {
            Some(Cell::Unchanged) => old,
            cell => Known::from(cell),
        };
        match image {
            Image::New => new,
            // PostgreSQL leaves the old tuple out exactly when the replica identity, and so the
            // key, is what it was.
            Image::Old if self.change.old.is_none() && self.key_columns.contains(&column) => new,
            Image::Old => old,
        }
    }

    /// The sides of the change that there are.
    fn images(&self) -> &'static [Image] {
        match self.change.op {
            Op::Insert => &[Image::New],
            Op::Delete => &[Image::Old],
            Op::Update => &[Image::Old, Image::New],
            Op::Truncate => &[],
        }
    }

    /// Whether the row keeps its key, and nothing else is known of it before the change. Then what
    /// is made of the key alone is the same on both sides.
    fn keeps_key(&self) -> bool {
        self.change.op == Op::Update && self.change.old.is_none()
    }

    /// Whether the update provably leaves every column alone that the contract looks at.
    pub(crate) fn leaves_alone(&self) -> bool {
        if self.change.op != Op::Update || self.may_have_changed() {
            return false;
        }
        let watched = self.contract.watched_columns();
        !watched.is_empty()
            && watched.into_iter().all(|column| {
                let old = self.column(Image::Old, column);
                // The log says "unchanged" outright for large columns.
                let toast = self.change.new.as_ref().and_then(|row| row.get(column))
                    == Some(&Cell::Unchanged);
                toast || (old != Known::Unknown && old == self.column(Image::New, column))
            })
    }

    /// Whether some watched column is told anew and not known before: the usual case, and quickly seen.
    fn may_have_changed(&self) -> bool {
        let Some(from) = &self.contract.from else { return false };
        let other = |column: &&String| !self.key_columns.contains(&column.as_str());
        let Some(column) = from.columns.iter().find(other) else { return false };
        let told = self.change.new.as_ref().and_then(|row| row.get(column));
        told.is_some_and(|cell| *cell != Cell::Unchanged)
            && self.column(Image::Old, column) == Known::Unknown
    }

    fn add_key(&self, image: Image, out: &mut Affected) {
        let mut params: Vec<(&str, &str)> = Vec::with_capacity(2);
        for (column, name) in self.key_columns.iter().zip(["id", "tenant"]) {
            match self.column(image, column) {
                Known::Value(value) => params.push((name, value)),
                // No entry has a null id.
                Known::Null => return,
                Known::Unknown => {
                    // An entry that can't be named can only be caught with all others.
                    out.everything = true;
                    let template = self.contract.key.as_str();
                    return out.incomplete.push(self.incomplete(template, column, image));
                }
            }
        }
        if let Some(family) = self.contract.family_tag(&params) {
            extend_new(&mut out.tags, [family]);
        } else if let Ok(key) = self.contract.key_with(&params) {
            // An id that makes no key is refused to readers too: there is no entry under it.
            extend_new(&mut out.keys, [key]);
        }
    }

    /// `repeated`: what is made of the key alone is added for the other side.
    fn add_tags(&self, image: Image, repeated: bool, out: &mut Affected) {
        for template in &self.contract.tags {
            let cells: Vec<(&str, &str, Known<'_>)> = template
                .placeholders()
                .into_iter()
                .map(|name| (name, self.contract.column_of(name)))
                .map(|(name, column)| (name, column, self.column(image, column)))
                .collect();
            if cells.iter().any(|(_, _, cell)| *cell == Known::Null)
                || repeated && cells.iter().all(|(_, column, _)| self.key_columns.contains(column))
            {
                continue;
            }
            if let Some((_, column, _)) = cells.iter().find(|(_, _, cell)| *cell == Known::Unknown)
            {
                out.incomplete.push(self.incomplete(template.as_str(), column, image));
                continue;
            }
            let value = |name: &str| {
                cells.iter().find_map(|(given, _, cell)| match cell {
                    Known::Value(text) if *given == name => Some(*text),
                    _ => None,
                })
            };
            if let Ok(tag) = template.tag(value) {
                extend_new(&mut out.tags, [tag]);
            }
        }
    }

    fn incomplete(&self, template: &str, column: &str, image: Image) -> Incomplete {
        Incomplete {
            contract: self.contract.name.clone(),
            template: template.to_owned(),
            column: column.to_owned(),
            image,
        }
    }
}

impl Contract {
    /// What `change` invalidates of this contract.
    ///
    /// Both the old and the new row count: a product that moves from one category to another
    /// changes both listings. An insert invalidates the key as well, since its absence may be
    /// remembered. An update that provably leaves every watched column alone invalidates nothing;
    /// where the old row is unknown, everything about it is assumed to have changed.
    pub fn affected(&self, change: &RowChange) -> Affected {
        let mut out = Affected::default();
        let Some(from) = &self.from else { return out };
        if !from.is(&change.source, &change.table) {
            return out;
        }
        if change.op == Op::Truncate {
            out.everything = true;
            return out;
        }
        let view = View { contract: self, change, key_columns: self.key_columns() };
        if view.leaves_alone() {
            return out;
        }
        for image in view.images() {
            let repeated = *image == Image::Old && view.keeps_key();
            if !repeated {
                view.add_key(*image, &mut out);
            }
            view.add_tags(*image, repeated, &mut out);
        }
        out
    }
}

impl Origin {
    /// Whether this is `table` of `source`.
    pub fn is(&self, source: &str, table: &str) -> bool {
        self.source == source && bare(&self.table) == bare(table)
    }
}

/// A table's name without the default schema.
pub(crate) fn bare(table: &str) -> &str {
    table.strip_prefix("public.").unwrap_or(table)
}
