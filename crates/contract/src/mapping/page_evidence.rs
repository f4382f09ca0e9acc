//! The evidence for the bound of a page, by the tags that it carries.
//!
//! The log proves that a page is fresh only if every change of the data that it shows raises one of its tags.
//! What a page shows is known to its application alone, which states it in the tags: a tag stands for a row, or
//! for all rows with some value. So a tag proves something only if every column of its rows counts. A tag that
//! is raised by some columns only is proven where the [route](PageEvidence::new) of the page states that its
//! pages show nothing else. And it proves nothing in a text that the log does not write ([`TextForm`]).

use std::collections::BTreeSet;

use crate::mapping::table::TableMapping;
use crate::mapping::text_form::{TextForm, TextForms};
use crate::model::contract::{Contract, Evidence, Origin};
use crate::model::contracts::Contracts;
use crate::naming::digest::fnv1a;
use crate::naming::table::without_default_schema;
use crate::naming::tag::{Tag, TagTemplate};

/// The rules by which the tags of a page prove its bound.
#[derive(Clone, Debug, Default)]
pub struct PageEvidence {
    raised: Vec<RaisedTags>,
    /// The names of the contracts whose values the pages show.
    shown: Vec<String>,
    /// The sources whose logs raise tags, sorted.
    sources: Vec<String>,
    digest: u64,
}

/// The tags of one template, which the log raises.
#[derive(Clone, Debug)]
struct RaisedTags {
    template: TagTemplate,
    contract: Contract,
    /// The table whose rows raise them: 0 for the contract's own, and the number of a joined one from 1 on.
    table: usize,
    /// Whether every change of a row raises them.
    every_column: bool,
    /// The fingerprint of the mapping that raises them.
    mapping: Option<u64>,
    /// The forms of the placeholders' columns, as far as they are known.
    forms: Vec<(String, TextForm)>,
}

impl RaisedTags {
    fn source(&self) -> Option<&str> {
        Some(&self.contract.from.as_ref()?.source)
    }

    fn origin(&self) -> Option<&Origin> {
        self.contract.origins().nth(self.table)
    }

    fn could_make(&self, tag: &Tag) -> bool {
        self.template.could_make(tag.as_str(), |name, escaped| {
            let Some(value) = TagTemplate::value_of(escaped) else { return false };
            let is_id =
                name != "id" || escaped.contains('%') || self.contract.id.check(&value).is_ok();
            let form = self.forms.iter().find(|(column, _)| column == name);
            is_id && form.is_none_or(|(_, form)| form.accepts(&value))
        })
    }

    /// Whether the tag is one of this template's but for the text of a value.
    fn misspells(&self, tag: &Tag) -> bool {
        self.template.could_make(tag.as_str(), |_, _| true) && !self.could_make(tag)
    }
}

impl PageEvidence {
    /// Creates the rules for pages that show nothing but the values of the contracts named in `shown`; empty:
    /// what they show is known by their tags only. `forms`: those of the columns that tags are made of.
    pub fn new(contracts: &Contracts, shown: &[String], forms: &TextForms) -> Self {
        let mut raised = Vec::new();
        for contract in contracts.iter() {
            for (table, mapping) in contract.table_mappings().enumerate() {
                raised.extend(of_table(table, mapping, forms));
            }
        }
        let mut text = shown.join(" ");
        for RaisedTags { template, contract, table, every_column, forms, .. } in &raised {
            let (name, template) = (&contract.name, template.as_str());
            text.push_str(&format!("\n{name} {template} {:?} {every_column} ", contract.id));
            if !forms.is_empty() {
                text.push_str(&format!("{forms:?} "));
            }
            text.push_str(&contract.watched_columns().join(" "));
            if contract.changes_at.is_some() {
                text.push_str(" by the clock");
            }
            if *table > 0 {
                text.push_str(&format!(" {table} {:?}", contract.joins[table - 1]));
            }
        }
        let sources = raised.iter().filter_map(RaisedTags::source).map(str::to_owned);
        let sources: Vec<String> = BTreeSet::from_iter(sources).into_iter().collect();
        // With one source it makes no difference which one.
        if sources.len() > 1 {
            for RaisedTags { template, contract, .. } in &raised {
                let source = contract.from.as_ref().map_or("", |from| &from.source);
                text.push_str(&format!("\n{source} {} {}", contract.name, template.as_str()));
            }
        }
        Self { raised, shown: shown.to_vec(), sources, digest: fnv1a(text.bytes()) }
    }

    /// Returns the rules about the tags that the log of `source` raises.
    #[must_use]
    pub fn of_source(&self, source: &str) -> Self {
        self.without_sources(|other| other != source)
    }

    /// Returns the rules about the tags of the sources that `is_other` does not name.
    #[must_use]
    pub fn without_sources(&self, is_other: impl Fn(&str) -> bool) -> Self {
        let is_own = |raised: &&RaisedTags| !raised.source().is_some_and(&is_other);
        Self { raised: self.raised.iter().filter(is_own).cloned().collect(), ..self.clone() }
    }

    /// Returns the sources whose logs raise tags, sorted.
    pub fn sources(&self) -> &[String] {
        &self.sources
    }

    /// Returns whether the log of each of the [sources](Self::sources) may raise one of the tags, in their order: a page
    /// with these tags depends on all of these logs.
    pub fn raised_by(&self, tags: &[Tag]) -> Vec<bool> {
        let raises = |source: &String| {
            let mut own = self.raised.iter().filter(|raised| raised.source() == Some(source));
            own.any(|raised| tags.iter().any(|tag| raised.could_make(tag)))
        };
        self.sources.iter().map(raises).collect()
    }

    /// Returns a digest of these rules: equal rules have equal digests, on every node.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// Returns the evidence of a page with these tags: that of the weakest of them. Without tags, or where a
    /// contract that its pages show raises none of them, it is its age.
    pub fn of(&self, tags: &[Tag]) -> Evidence {
        // A page that shows a value needs a tag that each table of the value raises.
        let raises = |name: &String| {
            let of = || self.raised.iter().filter(|raised| raised.contract.name == *name);
            let makes = |table| {
                of().any(|raised| {
                    raised.table == table && tags.iter().any(|tag| raised.could_make(tag))
                })
            };
            of().next().is_some_and(|raised| {
                let tables = raised.contract.table_mappings().enumerate();
                // A change of such a table raises every tag.
                let mut tables = tables.filter(|(_, mapping)| !mapping.is_of_all());
                tables.all(|(table, _)| makes(table))
            })
        };
        let is_proven = !tags.is_empty()
            && tags.iter().all(|tag| self.proving(tag).next().is_some())
            && self.shown.iter().all(raises);
        if is_proven { Evidence::Log } else { Evidence::Age }
    }

    /// Returns whether a page with these tags may show a value that changes by the clock: one of a contract that its pages
    /// show, or if they do not say that, one whose rows raise a tag of it.
    pub fn changes_by_clock(&self, tags: &[Tag]) -> bool {
        let timed = self.raised.iter().filter(|raised| raised.contract.changes_at.is_some());
        let mut timed = timed.filter(|raised| match self.shown.is_empty() {
            true => tags.iter().any(|tag| raised.could_make(tag)),
            false => self.shown.contains(&raised.contract.name),
        });
        timed.next().is_some()
    }

    /// Returns the [mappings](Contract::mapping_fingerprint) that may raise one of the tags: what an entry with these
    /// tags depends on.
    pub fn mappings(&self, tags: &[Tag]) -> Vec<u64> {
        let may_raise = |raised: &&RaisedTags| tags.iter().any(|tag| raised.could_make(tag));
        let mut mappings: Vec<u64> =
            self.raised.iter().filter(may_raise).filter_map(|raised| raised.mapping).collect();
        mappings.sort_unstable();
        mappings.dedup();
        mappings
    }

    /// Returns the tags of `tags` that prove nothing: no contract raises them, or by some columns only.
    pub fn unproven<'t>(&self, tags: &'t [Tag]) -> Vec<&'t Tag> {
        tags.iter().filter(|tag| self.proving(tag).next().is_none()).collect()
    }

    /// Returns a tag of `tags` that no change raises because a value in it has another text than the log's, with the
    /// template that it would fit.
    pub fn misspelt<'t>(&self, tags: &'t [Tag]) -> Option<(&'t Tag, &TagTemplate)> {
        let raises = |tag: &Tag| self.raised.iter().any(|raised| raised.could_make(tag));
        tags.iter().filter(|tag| !raises(tag)).find_map(|tag| {
            let raised = self.raised.iter().find(|raised| raised.misspells(tag))?;
            Some((tag, &raised.template))
        })
    }

    /// Returns whether a tag of the page proves something about `table`.
    pub fn covers_table(&self, tags: &[Tag], table: &str) -> bool {
        let is_of_table = |raised: &RaisedTags| {
            raised.origin().is_some_and(|from| {
                without_default_schema(&from.table) == without_default_schema(table)
            })
        };
        tags.iter().any(|tag| self.proving(tag).any(is_of_table))
    }

    /// Returns the templates by which `tag` proves something.
    fn proving(&self, tag: &Tag) -> impl Iterator<Item = &RaisedTags> {
        self.raised.iter().filter(move |raised| {
            (raised.every_column || self.shown.contains(&raised.contract.name))
                && raised.could_make(tag)
        })
    }
}

/// Returns the tags that rows of a table raise.
fn of_table<'a>(
    table: usize,
    mapping: TableMapping<'a>,
    forms: &'a TextForms,
) -> impl Iterator<Item = RaisedTags> + 'a {
    let contract = mapping.contract;
    // A tag that a joined table raises by the key stands for the row of the contract's own table.
    let own = contract.from.as_ref().filter(|_| mapping.has_key());
    let own = own.map_or(mapping, |from| TableMapping::own(contract, from));
    let forms_of = move |template: &'a TagTemplate| {
        let form =
            |name: &'a str| Some((name.to_owned(), forms.get(own.from, own.column_of(name)?)?));
        template.placeholders().into_iter().filter_map(form).collect()
    };
    let stands_for_rows = mapping.is_own() || !mapping.has_key();
    let every_column = stands_for_rows && mapping.from.columns.is_empty();
    let tags = mapping.tags().into_iter().map(move |tag| (tag, every_column));
    let page_tags = mapping.page_tags().into_iter().map(move |tag| (tag, mapping.is_own()));
    tags.chain(page_tags).map(move |(template, every_column)| RaisedTags {
        template: template.clone(),
        contract: contract.clone(),
        table,
        every_column,
        mapping: contract.mapping_fingerprint(),
        forms: forms_of(template),
    })
}

#[cfg(test)]
#[path = "page_evidence_tests.rs"]
mod tests;
