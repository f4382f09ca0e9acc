//! The tables of a contract: which entries a row of each of them is part of.

use crate::mapping::unique::add;
use crate::model::contract::{Contract, JoinedEntries, JoinedTable, Origin};
use crate::model::contracts::Contracts;
use crate::naming::placeholder::column_of_row;
use crate::naming::tag::TagTemplate;

/// The mapping of the rows of one table to the entries of a contract.
#[derive(Clone, Copy)]
pub struct TableMapping<'a> {
    pub(crate) contract: &'a Contract,
    pub(crate) from: &'a Origin,
    rows: Rows<'a>,
}

#[derive(Clone, Copy)]
enum Rows<'a> {
    /// The contract's own table.
    Own,
    /// A joined table.
    Joined(&'a JoinedEntries),
}

impl<'a> TableMapping<'a> {
    pub(crate) fn own(contract: &'a Contract, from: &'a Origin) -> Self {
        Self { contract, from, rows: Rows::Own }
    }

    pub(crate) fn joined(contract: &'a Contract, joined: &'a JoinedTable) -> Self {
        Self { contract, from: &joined.origin, rows: Rows::Joined(&joined.entries) }
    }

    /// Returns the contract.
    pub fn contract(&self) -> &'a Contract {
        self.contract
    }

    /// Returns the table.
    pub fn origin(&self) -> &'a Origin {
        self.from
    }

    /// Returns whether it is the contract's own table, not a joined one.
    pub fn is_own(&self) -> bool {
        matches!(self.rows, Rows::Own)
    }

    /// Returns whether a row contains the key of its entries.
    pub fn has_key(&self) -> bool {
        matches!(self.rows, Rows::Own | Rows::Joined(JoinedEntries::OfKey))
    }

    /// Returns whether a row is part of all entries.
    pub(crate) fn is_of_all(&self) -> bool {
        matches!(self.rows, Rows::Joined(JoinedEntries::All))
    }

    /// Returns the placeholders of the key that a row has, with their columns.
    pub(crate) fn key_parts(&self) -> Vec<(&'a str, &'a str)> {
        if !self.has_key() {
            return Vec::new();
        }
        let (key, from) = (&self.contract.key, self.from);
        let mut parts: Vec<(&str, &str)> = vec![("id", &from.key)];
        if key.has_tenant() {
            parts.push(("tenant", &from.tenant));
        }
        let variants = key.variants().into_iter();
        parts.extend(variants.zip(from.variants.iter().map(String::as_str)));
        parts
    }

    /// Returns the columns by which a row names its entries: those of the key, or of the tags in its place. An
    /// invalidation needs their old values, too.
    pub fn key_columns(&self) -> Vec<&'a str> {
        let mut columns = Vec::new();
        match self.rows {
            Rows::Joined(JoinedEntries::Tagged(tags)) => {
                add(&mut columns, tags.iter().flat_map(|tag| self.columns_of(tag)));
            }
            _ => add(&mut columns, self.key_parts().into_iter().map(|(_, column)| column)),
        }
        columns
    }

    /// Returns the tags that a row raises and entries carry.
    pub(crate) fn tags(&self) -> Vec<&'a TagTemplate> {
        match self.rows {
            Rows::Joined(JoinedEntries::Tagged(tags)) => tags.iter().collect(),
            _ => self.raised(&self.contract.tags),
        }
    }

    /// Returns the tags that a row raises and pages carry.
    pub(crate) fn page_tags(&self) -> Vec<&'a TagTemplate> {
        match self.rows {
            Rows::Joined(JoinedEntries::Tagged(_)) => Vec::new(),
            _ => self.raised(&self.contract.page_tags),
        }
    }

    /// Returns the templates that are made of columns of the table. A row of a joined table has those of the key.
    fn raised(&self, templates: &'a [TagTemplate]) -> Vec<&'a TagTemplate> {
        let parts = self.key_parts();
        let has = |name: &str| match self.rows {
            Rows::Own => self.column_of(name).is_some(),
            Rows::Joined(_) => {
                column_of_row(name).is_none() && parts.iter().any(|(part, _)| *part == name)
            }
        };
        templates.iter().filter(|tag| tag.placeholders().into_iter().all(has)).collect()
    }

    fn columns_of(self, tag: &'a TagTemplate) -> impl Iterator<Item = &'a str> {
        tag.placeholders().into_iter().filter_map(move |name| self.column_of(name))
    }

    /// Returns the column of a placeholder; `None` for a variant that the rows do not have.
    pub(crate) fn column_of(&self, placeholder: &'a str) -> Option<&'a str> {
        match self.rows {
            Rows::Own | Rows::Joined(JoinedEntries::OfKey) => {
                self.contract.column_of(Some(self.from), placeholder)
            }
            // Its tags are made of its own columns, whichever variants the key has.
            Rows::Joined(_) => Some(column_of_row(placeholder).unwrap_or(match placeholder {
                "id" => &self.from.key,
                name => name,
            })),
        }
    }

    fn named(&self, column: &'a str) -> TableColumn<'a> {
        TableColumn { table: &self.from.table, column }
    }

    /// Returns all columns of which names are made: of keys, of tags and of the tags of pages, each once.
    pub fn named_columns(&self) -> Vec<&'a str> {
        let mut columns = self.key_columns();
        let tags = self.tags().into_iter().chain(self.page_tags());
        add(&mut columns, tags.flat_map(|tag| self.columns_of(tag)));
        columns
    }

    /// Returns the columns whose changes invalidate entries, each once; empty where all columns count.
    pub fn watched_columns(&self) -> Vec<&'a str> {
        if self.from.columns.is_empty() {
            return Vec::new();
        }
        let mut columns = self.key_columns();
        add(&mut columns, self.tags().into_iter().flat_map(|tag| self.columns_of(tag)));
        add(&mut columns, self.from.columns.iter().map(String::as_str));
        columns
    }

    /// Returns whether an update of the row counts whichever columns it changes: for entries, or for pages.
    pub fn counts_every_column(&self) -> bool {
        let for_pages = self.is_own() && !self.contract.page_tags.is_empty();
        self.from.columns.is_empty() || for_pages
    }
}

impl Contract {
    /// Returns the mappings of its tables: its own, and the joined ones.
    pub fn table_mappings(&self) -> impl Iterator<Item = TableMapping<'_>> {
        let own = self.from.iter().map(|from| TableMapping::own(self, from));
        own.chain(self.joins.iter().map(|joined| TableMapping::joined(self, joined)))
    }
}

/// A column of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableColumn<'a> {
    /// The table.
    pub table: &'a str,
    /// The column.
    pub column: &'a str,
}

/// A column by which the rows of a joined table name entries, and the column of the contract's own table of which the
/// same names are made. Both have to have the same texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MatchedColumns<'a> {
    /// The own one; `None` where the reader gives the value.
    pub own: Option<TableColumn<'a>>,
    /// The joined one.
    pub joined: TableColumn<'a>,
}

impl Contract {
    /// Returns the columns by which rows of joined tables name entries.
    pub fn matched_columns(&self) -> Vec<MatchedColumns<'_>> {
        let mut matched = Vec::new();
        let Some(own) = &self.from else { return matched };
        let own = TableMapping::own(self, own);
        for joined in &self.joins {
            let mapping = TableMapping::joined(self, joined);
            let pair = |one, other| {
                let own = own.column_of(one).map(|column| own.named(column));
                Some(MatchedColumns { own, joined: mapping.named(mapping.column_of(other)?) })
            };
            for (name, _) in mapping.key_parts() {
                add(&mut matched, pair(name, name));
            }
            let JoinedEntries::Tagged(tags) = &joined.entries else { continue };
            for tag in tags {
                for carried in self.tags.iter().filter(|carried| carried.has_form_of(tag)) {
                    let places = carried.places().zip(tag.places());
                    add(&mut matched, places.filter_map(|(one, other)| pair(one, other)));
                }
            }
        }
        matched
    }
}

impl Contracts {
    /// Returns the mappings of a table under all contracts.
    pub fn mappings_of_table<'a>(
        &'a self,
        source: &'a str,
        table: &'a str,
    ) -> impl Iterator<Item = TableMapping<'a>> {
        let of_contracts = self.of_table(source, table).flat_map(Contract::table_mappings);
        of_contracts.filter(move |mapping| mapping.from.is_table(source, table))
    }
}
