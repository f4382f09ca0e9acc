//! The keys and tags that a committed row change invalidates.

use serde::Serialize;

use crate::mapping::change::{ColumnValue, ContractChange, Image};
use crate::mapping::row::{Op, RowChange};
use crate::mapping::table::TableMapping;
use crate::mapping::unique::add;
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
        add(&mut self.keys, other.keys);
        add(&mut self.tags, other.tags);
        add(&mut self.key_patterns, other.key_patterns);
        add(&mut self.tag_patterns, other.tag_patterns);
        add(&mut self.incomplete, other.incomplete);
        self.everything |= other.everything;
    }
}

impl ContractChange<'_> {
    /// Adds the key of the row in `image`, or the tag that all of its variants share.
    fn add_key(&self, image: Image, out: &mut Affected) {
        let contract = self.table.contract;
        let parts = self.table.key_parts();
        let mut params: Vec<(&str, &str)> = Vec::with_capacity(parts.len());
        for (name, column) in parts {
            match self.canonical(image, column) {
                ColumnValue::Text(value) => params.push((name, value)),
                // No entry has a null id.
                ColumnValue::Null if matches!(name, "id" | "tenant") => return,
                // Any variant may be made from the row.
                ColumnValue::Null => {
                    params.retain(|(name, _)| matches!(*name, "id" | "tenant"));
                    break;
                }
                ColumnValue::Unknown => {
                    // Without its key, the entry can be invalidated only together with all others.
                    out.everything = true;
                    return out.incomplete.push(self.incomplete(
                        contract.key.as_str(),
                        column,
                        image,
                    ));
                }
            }
        }
        let is_whole = params.len() == contract.key.placeholders().len();
        if !is_whole && !contract.takes_variants() {
            // Such entries carry the tag of all variants only.
            params.retain(|(name, _)| matches!(*name, "id" | "tenant"));
        }
        if let Some(family) = contract.family_tag(&params) {
            add(&mut out.tags, [family]);
        } else if let Ok(key) = contract.key_with(&params) {
            // Reads of an id without a valid key are refused too, so there is no entry.
            add(&mut out.keys, [key]);
        }
    }

    /// Adds the tags that `templates` make of the row in `image`. With `repeated`, tags that are made from the
    /// key only are skipped, since the other image adds them.
    fn add_tags(
        &self,
        templates: &[&TagTemplate],
        image: Image,
        repeated: bool,
        out: &mut Affected,
    ) {
        let contract = self.table.contract;
        for template in templates {
            let cells: Vec<(&str, &str, ColumnValue<'_>)> = template
                .placeholders()
                .into_iter()
                .filter_map(|name| Some((name, self.table.column_of(name)?)))
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
                if !self.table.has_key() {
                    // No other name leads to the entries.
                    out.merge(contract.affected_wholly());
                }
                continue;
            }
            let value = |name: &str| {
                cells.iter().find_map(|(given, _, cell)| match cell {
                    ColumnValue::Text(text) if *given == name => Some(*text),
                    _ => None,
                })
            };
            if let Ok(tag) = template.tag(value) {
                add(&mut out.tags, [tag]);
            }
        }
    }

    fn incomplete(&self, template: &str, column: &str, image: Image) -> Incomplete {
        Incomplete {
            contract: self.table.contract.name.clone(),
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
                (Some(Ok(pattern)), _) => add(&mut out.tag_patterns, [pattern]),
                (None, Ok(tag)) => add(&mut out.tags, [tag]),
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
        for table in self.table_mappings() {
            if table.from.is_table(&change.source, &change.table) {
                self.add_affected(table, change, &mut out);
            }
        }
        out
    }

    fn add_affected(&self, table: TableMapping<'_>, change: &RowChange, out: &mut Affected) {
        if change.op == Op::Truncate {
            return out.merge(self.affected_wholly());
        }
        let change = ContractChange::new(table, change);
        let is_relevant = !change.is_irrelevant();
        if table.is_of_all() && is_relevant {
            return out.merge(self.affected_wholly());
        }
        // The tags of pages stand for rows of the contract's own table.
        let shows_page = is_relevant || table.is_own();
        let page_tags = if shows_page { table.page_tags() } else { Vec::new() };
        if !is_relevant && page_tags.is_empty() {
            return;
        }
        let tags = table.tags();
        for image in change.images() {
            let repeated = *image == Image::Old && change.keeps_key();
            if is_relevant {
                if table.has_key() && !repeated {
                    change.add_key(*image, out);
                }
                change.add_tags(&tags, *image, repeated, out);
            }
            change.add_tags(&page_tags, *image, repeated, out);
        }
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
