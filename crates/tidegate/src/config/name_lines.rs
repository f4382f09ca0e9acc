//! The places in a configuration's files of the names that a database does not have.

use std::path::PathBuf;

use contract::{Contract, Contracts, TableMapping, TagTemplate, split_table_name};
use feed::Subject;

use super::file::ConfigFile;
use super::line_index::LineIndex;

/// The files of a configuration, with the lines of their keys.
#[derive(Debug, Default)]
pub(crate) struct NameLines(Vec<(PathBuf, LineIndex)>);

impl NameLines {
    pub(super) fn of<'f>(files: impl Iterator<Item = &'f ConfigFile>) -> Self {
        Self(files.map(|file| (file.path().to_owned(), file.lines())).collect())
    }

    /// Returns the places at which contracts of `source` name the subject of an issue, such as
    /// `tidegate.toml: line 12: data.product_price.from.table`.
    pub(crate) fn of_subject(
        &self,
        contracts: &Contracts,
        source: &str,
        subject: &Subject,
    ) -> Vec<String> {
        let places = contracts.iter().filter_map(|contract| {
            let key = key_of_subject(contract, source, subject)?;
            Some(self.place(&format!("data.{}", contract.name), &key))
        });
        places.collect()
    }

    /// Returns the place of a contract's key.
    fn place(&self, contract: &str, key: &str) -> String {
        let path = format!("{contract}.{key}");
        let file = self.0.iter().find(|(_, lines)| lines.has(contract));
        match file.and_then(|(file, lines)| Some((file, lines.line(&path)?))) {
            Some((file, line)) => format!("{}: line {line}: {path}", file.display()),
            None => path,
        }
    }
}

/// Returns the key of a contract that names the subject; `None`: it names another.
fn key_of_subject(contract: &Contract, source: &str, subject: &Subject) -> Option<String> {
    let mappings: Vec<_> = contract.table_mappings().collect();
    let is_list = mappings.len() > 1;
    mappings.into_iter().enumerate().find_map(|(at, mapping)| {
        let from = if is_list { format!("from[{at}]") } else { "from".to_owned() };
        key_of_table(mapping, &from, source, subject)
    })
}

fn key_of_table(
    mapping: TableMapping<'_>,
    path: &str,
    source: &str,
    subject: &Subject,
) -> Option<String> {
    let (contract, from) = (mapping.contract(), mapping.origin());
    if from.source != source {
        return None;
    }
    let (table, column) = match subject {
        Subject::Table(table) => (table, None),
        Subject::Column { table, column } => (table, Some(column)),
    };
    // A start resolves a name without a schema to that of the role's search path.
    let ((own_schema, own), (schema, name)) =
        (split_table_name(&from.table), split_table_name(table));
    if own != name || own_schema.is_some_and(|own| schema.is_some_and(|schema| own != schema)) {
        return None;
    }
    let Some(column) = column else { return Some(format!("{path}.table")) };
    if mapping.has_key() && (from.key == *column || from.variants.contains(column)) {
        return Some(format!("{path}.key"));
    }
    if mapping.has_key() && from.tenant == *column && contract.key.has_tenant() {
        return Some(format!("{path}.tenant"));
    }
    if let Some(at) = from.columns.iter().position(|name| name == column) {
        return Some(format!("{path}.columns[{at}]"));
    }
    if !mapping.has_key() {
        return Some(format!("{path}.tags"));
    }
    let is_of_column = |tag: &TagTemplate| {
        let mut names = tag.placeholders().into_iter();
        names.any(|name| name.strip_prefix("row.").unwrap_or(name) == column)
    };
    for (list, tags) in [("tags", &contract.tags), ("page_tags", &contract.page_tags)] {
        if let Some(at) = tags.iter().position(is_of_column) {
            return Some(format!("{list}[{at}]"));
        }
    }
    Some("value".to_owned())
}
