//! Fingerprints of contracts, by which nodes with different configurations recognise the same contract.
//!
//! Only one node, the leader, maps row changes to keys and tags, and each node stores entries for the others. The
//! *mapping* of a contract is everything that decides which entries a row change invalidates; its *definition*
//! everything that decides the content of its entries.

use std::collections::BTreeSet;

use crate::model::contract::{Contract, JoinedEntries, JoinedTable, Origin};
use crate::model::contracts::Contracts;
use crate::model::service::Service;
use crate::naming::digest::fnv1a;
use crate::naming::table::without_default_schema;
use crate::naming::tag::TagTemplate;

/// The version of the rules that make keys and tags of rows. Increase it with each change of a key's or tag's
/// text, so that a leader of another version covers nothing here.
const MAPPING_VERSION: u32 = 1;

/// The version of the rules that make an entry of a loaded row. Increase it with each change of its format.
const DEFINITION_VERSION: u32 = 1;

impl Contract {
    /// Returns the fingerprint of its mapping; `None` where no row change invalidates its entries.
    pub fn mapping_fingerprint(&self) -> Option<u64> {
        let text = self.mapping_text()?;
        Some(fnv1a(text.bytes()))
    }

    /// Returns the fingerprint of its definition: entries with another one have another content, or other tags.
    pub fn definition_fingerprint(&self) -> u64 {
        let Self { key, id, value, service, changes_at, .. } = self;
        let key = key.as_str();
        let mut text = format!("{DEFINITION_VERSION}\n{key}\n{id:?}\n{value:?}\n");
        if let Some(Service { url, types, headers, .. }) = service {
            text.push_str(&format!("{}\n{types:?}\n{headers:?}\n", url.as_str()));
        }
        if let Some(statement) = changes_at {
            text.push_str(&format!("changes_at {statement:?}\n"));
        }
        text.push_str(&self.mapping_text().unwrap_or_default());
        fnv1a(text.bytes())
    }

    fn mapping_text(&self) -> Option<String> {
        let from = self.from.as_ref()?;
        let table = without_default_schema(&from.table);
        let mut columns = from.columns.clone();
        columns.sort_unstable();
        let mut parts = vec![
            MAPPING_VERSION.to_string(),
            from.source.clone(),
            table.to_owned(),
            from.key.clone(),
            from.tenant.clone(),
            columns.join(" "),
            self.key.as_str().to_owned(),
            format!("{:?}", self.id),
            texts(&self.tags),
            texts(&self.page_tags),
        ];
        if !from.variants.is_empty() {
            parts.push(format!("variants {:?}", from.variants));
        }
        parts.extend(self.joins.iter().map(joined_text));
        Some(parts.join("\n"))
    }

    /// Whether a row change under `other` may raise a tag that entries of this contract carry.
    fn may_carry_tags_of(&self, other: &Self) -> bool {
        let joined = || {
            other.joins.iter().flat_map(|joined| match &joined.entries {
                JoinedEntries::Tagged(tags) => tags.as_slice(),
                JoinedEntries::OfKey | JoinedEntries::All => &[],
            })
        };
        let raised = || other.tags.iter().chain(&other.page_tags).chain(joined());
        self.tags.iter().any(|own| raised().any(|tag| may_be_equal(own, tag)))
    }
}

impl Contracts {
    /// Returns the mappings of all contracts, each once.
    pub fn mappings(&self) -> BTreeSet<u64> {
        self.iter().filter_map(Contract::mapping_fingerprint).collect()
    }

    /// Returns the mappings that entries of `contract` depend on: its own, and those that raise its tags.
    pub fn mappings_of_entries(&self, contract: &Contract) -> BTreeSet<u64> {
        self.raising_tags_of(contract)
            .chain([contract])
            .filter_map(Contract::mapping_fingerprint)
            .collect()
    }

    /// Returns the contracts whose row changes may raise a tag that entries of `contract` carry.
    pub fn raising_tags_of(&self, contract: &Contract) -> impl Iterator<Item = &Contract> {
        self.iter().filter(move |other| contract.may_carry_tags_of(other))
    }

    /// Returns the services that have a tag which a contract of another source may raise, each with that contract and its
    /// source. `main`: the source of contracts that name none.
    pub fn services_with_foreign_tags(&self, main: &str) -> Vec<(&Contract, &Contract, &str)> {
        let source = |contract: &Contract| {
            contract.from.as_ref().map_or(main, |from| &from.source).to_owned()
        };
        let mut found = Vec::new();
        for service in self.iter().filter(|contract| contract.service.is_some()) {
            let raising = self.iter().find_map(|other| {
                let from = other.from.as_ref()?;
                let is_foreign = from.source != source(service) && service.may_carry_tags_of(other);
                is_foreign.then_some((service, other, from.source.as_str()))
            });
            found.extend(raising);
        }
        found
    }

    /// Returns the mappings that pages depend on: those that raise any tag.
    pub fn mappings_of_pages(&self) -> BTreeSet<u64> {
        let raises =
            |contract: &&Contract| !contract.tags.is_empty() || !contract.page_tags.is_empty();
        self.iter().filter(raises).filter_map(Contract::mapping_fingerprint).collect()
    }
}

fn joined_text(JoinedTable { origin, entries }: &JoinedTable) -> String {
    let Origin { source: _, table, key, variants, tenant, columns } = origin;
    let mut columns = columns.clone();
    columns.sort_unstable();
    let entries = match entries {
        JoinedEntries::OfKey => format!("{key} {variants:?} {tenant}"),
        JoinedEntries::Tagged(tags) => format!("{key} {}", texts(tags)),
        JoinedEntries::All => "all".to_owned(),
    };
    format!("{} {columns:?} {entries}", without_default_schema(table))
}

fn texts(templates: &[TagTemplate]) -> String {
    templates.iter().map(TagTemplate::as_str).collect::<Vec<_>>().join(" ")
}

/// Whether two templates may make the same tag, judged by the text before their first placeholders.
fn may_be_equal(one: &TagTemplate, other: &TagTemplate) -> bool {
    let prefix = |template: &TagTemplate| {
        let text = template.as_str();
        text.split_once('{').map_or(text, |(prefix, _)| prefix).to_owned()
    };
    let (one, other) = (prefix(one), prefix(other));
    one.starts_with(&other) || other.starts_with(&one)
}

#[cfg(test)]
#[path = "fingerprint_tests.rs"]
mod tests;
