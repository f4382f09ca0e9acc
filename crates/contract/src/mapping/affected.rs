//! The keys and tags that a committed row change invalidates.

use serde::Serialize;

use crate::mapping::change::{ColumnValue, ContractChange, Image};
use crate::mapping::row::{Op, RowChange};
use crate::model::contract::Contract;
use crate::model::contracts::Contracts;
use crate::naming::key::Key;
use crate::naming::pattern::Pattern;
use crate::naming::tag::{Tag, TagTemplate};

/// The invalidations of one row change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Affected {
    /// Keys to invalidate, each once.
    pub keys: Vec<Key>,
    /// Tags to invalidate, each once.
    pub tags: Vec<Tag>,
    /// Patterns of keys to invalidate: every entry of a contract, since any row of its table may have changed.
    pub key_patterns: Vec<Pattern>,
    /// Patterns of tags to invalidate, for the same reason.
    pub tag_patterns: Vec<Pattern>,
    /// Whether all entries are invalidated: a row's key is unknown, or the entries have no pattern.
    pub everything: bool,
    /// Keys and tags that are unknown because the log does not contain a column's value.
    pub incomplete: Vec<Incomplete>,
}

/// A key or tag that a row change invalidates, but whose name is unknown.
///
/// The usual cause is the old row of an update or delete, of which the log contains only the table's
/// replica identity. `ALTER TABLE … REPLICA IDENTITY FULL` is the remedy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Incomplete {
    /// The name of the contract.
    pub contract: String,
    /// The key or tag template.
    pub template: String,
    /// The column whose value is unknown.
    pub column: String,
    /// The image in which it is unknown.
    pub image: Image,
}

impl Affected {
    /// Returns whether the change invalidates nothing and all names are known.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
            && self.tags.is_empty()
            && self.key_patterns.is_empty()
            && self.tag_patterns.is_empty()
            && !self.everything
            && self.incomplete.is_empty()
    }

    /// Adds the invalidations of `other`.
    pub fn merge(&mut self, other: Self) {
        extend_new(&mut self.keys, other.keys);
        extend_new(&mut self.tags, other.tags);
        extend_new(&mut self.key_patterns, other.key_patterns);
        extend_new(&mut self.tag_patterns, other.tag_patterns);
        extend_new(&mut self.incomplete, other.incomplete);
        self.everything |= other.everything;
    }
}

// The lists have a few items; a set would cost more than it saves.
fn extend_new<T: PartialEq>(list: &mut Vec<T>, items: impl IntoIterator<Item = T>) {
    for item in items {
        if !list.contains(&item) {
            list.push(item);
        }
    }
}

impl ContractChange<'_> {
    /// Adds the key of the row in `image`, or the tag that all of its variants share.
    fn add_key(&self, image: Image, out: &mut Affected) {
        let mut params: Vec<(&str, &str)> = Vec::with_capacity(2);
        for (column, name) in self.key_columns.iter().zip(["id", "tenant"]) {
            match self.canonical(image, column) {
                ColumnValue::Text(value) => params.push((name, value)),
                // No entry has a null id.
                ColumnValue::Null => return,
                ColumnValue::Unknown => {
                    // Without its key, the entry can be invalidated only together with all others.
                    out.everything = true;
                    let template = self.contract.key.as_str();
                    return out.incomplete.push(self.incomplete(template, column, image));
                }
            }
        }
        if let Some(family) = self.contract.family_tag(&params) {
            extend_new(&mut out.tags, [family]);
        } else if let Ok(key) = self.contract.key_with(&params) {
            // Reads of an id without a valid key are refused too, so there is no entry.
            extend_new(&mut out.keys, [key]);
        }
    }

    /// Adds the tags that `templates` make of the row in `image`. With `repeated`, tags that are made from the
    /// key only are skipped, since the other image adds them.
    fn add_tags(
        &self,
        templates: &[TagTemplate],
        image: Image,
        repeated: bool,
        out: &mut Affected,
    ) {
        for template in templates {
            let cells: Vec<(&str, &str, ColumnValue<'_>)> = template
                .placeholders()
                .into_iter()
                .map(|name| (name, self.contract.column_of(name)))
                .map(|(name, column)| (name, column, self.canonical(image, column)))
                .collect();
            if cells.iter().any(|(_, _, cell)| *cell == ColumnValue::Null)
                || repeated && cells.iter().all(|(_, column, _)| self.key_columns.contains(column))
            {
                continue;
            }
            let unknown = cells.iter().find(|(_, _, cell)| *cell == ColumnValue::Unknown);
            if let Some((_, column, _)) = unknown {
                out.incomplete.push(self.incomplete(template.as_str(), column, image));
                continue;
            }
            let value = |name: &str| {
                cells.iter().find_map(|(given, _, cell)| match cell {
                    ColumnValue::Text(text) if *given == name => Some(*text),
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
    /// Returns the invalidations after which no entry of this contract and no tag that it raises is old: any row
    /// of its table, or its value's definition, may have changed.
    #[must_use]
    pub fn affected_wholly(&self) -> Affected {
        let mut out = Affected::default();
        match self.key.pattern() {
            Ok(pattern) => out.key_patterns.push(pattern),
            Err(_) => out.everything = true,
        }
        for template in self.tags.iter().chain(&self.page_tags) {
            let pattern = template.pattern_text().map(|text| Pattern::of_tags(&text));
            match (pattern, template.tag(|_| None)) {
                (Some(Ok(pattern)), _) => extend_new(&mut out.tag_patterns, [pattern]),
                (None, Ok(tag)) => extend_new(&mut out.tags, [tag]),
                // Its tags could be any.
                _ => out.everything = true,
            }
        }
        out
    }

    /// Returns the invalidations of `change` under this contract.
    ///
    /// The old and the new row both count: a product that moves from one category to another changes
    /// both listings. An insert invalidates the key too, since the absence of the row may be cached. An
    /// update that provably changes no watched column invalidates only the tags of pages; where the old row
    /// is unknown, all of its columns are assumed to have changed.
    pub fn affected(&self, change: &RowChange) -> Affected {
        let mut out = Affected::default();
        let Some(from) = &self.from else { return out };
        if !from.is_table(&change.source, &change.table) {
            return out;
        }
        if change.op == Op::Truncate {
            return self.affected_wholly();
        }
        let change = ContractChange::new(self, change);
        let is_relevant = !change.is_irrelevant();
        if !is_relevant && self.page_tags.is_empty() {
            return out;
        }
        for image in change.images() {
            let repeated = *image == Image::Old && change.keeps_key();
            if is_relevant {
                if !repeated {
                    change.add_key(*image, &mut out);
                }
                change.add_tags(&self.tags, *image, repeated, &mut out);
            }
            change.add_tags(&self.page_tags, *image, repeated, &mut out);
        }
        out
    }
}

impl Contracts {
    /// Returns the invalidations of `change` under all contracts, each key and tag once.
    pub fn affected(&self, change: &RowChange) -> Affected {
        let mut out = Affected::default();
        for contract in self.of_table(&change.source, &change.table) {
            let more = contract.affected(change);
            if out.is_empty() {
                out = more;
            } else {
                out.merge(more);
            }
        }
        out
    }
}
