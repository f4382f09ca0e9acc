//! The columns of a row that a contract reads, and the tags that they make.

use crate::mapping::row::{Cell, Row};
use crate::model::contract::Contract;
use crate::naming::digest::hash_text;
use crate::naming::tag::{Tag, TagTemplate};

impl Contract {
    /// Returns the column of a placeholder in a tag or key.
    pub(crate) fn column_of<'a>(&'a self, placeholder: &'a str) -> &'a str {
        match (&self.from, placeholder) {
            (Some(from), "id") => &from.key,
            (Some(from), "tenant") => &from.tenant,
            _ => placeholder,
        }
    }

    /// Returns the columns that a loader needs to tag an entry, each once.
    pub fn tag_columns(&self) -> Vec<&str> {
        let mut columns: Vec<&str> = Vec::new();
        let tags = self.tags.iter().flat_map(TagTemplate::placeholders);
        let family = self.family_placeholders();
        for placeholder in tags.chain(family) {
            let column = self.column_of(placeholder);
            if !columns.contains(&column) {
                columns.push(column);
            }
        }
        columns
    }

    /// Returns the columns that the tags of pages are made from, each once.
    pub fn page_tag_columns(&self) -> Vec<&str> {
        let mut columns: Vec<&str> = Vec::new();
        for placeholder in self.page_tags.iter().flat_map(TagTemplate::placeholders) {
            let column = self.column_of(placeholder);
            if !columns.contains(&column) {
                columns.push(column);
            }
        }
        columns
    }

    /// Returns the columns whose changes invalidate entries: key, tenant, value and tag columns, each
    /// once. Empty where all columns count or the contract has no `from`.
    pub fn watched_columns(&self) -> Vec<&str> {
        let Some(from) = &self.from else { return Vec::new() };
        if from.columns.is_empty() {
            return Vec::new();
        }
        let mut columns = self.load_columns();
        for column in from.columns.iter().map(String::as_str) {
            if !columns.contains(&column) {
                columns.push(column);
            }
        }
        columns
    }

    /// Returns whether an update of the row counts whichever columns it changes: for entries, or for pages.
    pub fn counts_every_column(&self) -> bool {
        self.from.as_ref().is_some_and(|from| from.columns.is_empty() || !self.page_tags.is_empty())
    }

    /// Returns the columns that the key is made from.
    pub fn key_columns(&self) -> Vec<&str> {
        match &self.from {
            None => Vec::new(),
            Some(from) if self.key.has_tenant() => vec![&from.key, &from.tenant],
            Some(from) => vec![&from.key],
        }
    }

    /// Returns the columns that a loader selects in addition to the value: key and tag columns, each
    /// once.
    pub fn load_columns(&self) -> Vec<&str> {
        let mut columns = self.key_columns();
        for column in self.tag_columns() {
            if !columns.contains(&column) {
                columns.push(column);
            }
        }
        columns
    }

    /// Returns whether `id` equals the id in the row that was loaded for it.
    ///
    /// A comparison that folds case or ignores trailing spaces finds rows under ids that never occur in
    /// the log. Such an answer is right, but must not be stored: no change would invalidate the entry.
    /// True if the row does not contain the id.
    pub fn id_matches_row(&self, id: &str, row: &Row) -> bool {
        let row_id = self.from.as_ref().and_then(|from| row.get(&from.key)).and_then(Cell::text);
        row_id.is_none_or(|row_id| row_id == id)
    }

    /// Returns the columns whose old value an invalidation needs but that are not in `identity`, the
    /// columns of the table's replica identity. If there is one, PostgreSQL needs
    /// `ALTER TABLE … REPLICA IDENTITY FULL`.
    pub fn columns_outside_identity(&self, identity: &[&str]) -> Vec<&str> {
        if self.from.is_none() {
            return Vec::new();
        }
        let mut columns = self.load_columns();
        for column in self.page_tag_columns() {
            if !columns.contains(&column) {
                columns.push(column);
            }
        }
        columns.retain(|column| !identity.contains(column));
        columns
    }

    /// Returns the tags of the entry for a row with these known `columns`, as a fill stores them. Tags
    /// whose column is unknown or null are left out. For an absent row, pass the key's column only.
    pub fn tags_for(&self, columns: &Row) -> Vec<Tag> {
        self.tags_of(|column| columns.get(column).and_then(Cell::text))
    }

    /// As [`Contract::tags_for`], with a function that returns the text of a column.
    pub(crate) fn tags_of<'a>(&'a self, column: impl Fn(&str) -> Option<&'a str>) -> Vec<Tag> {
        let text = |placeholder: &str| column(self.column_of(placeholder));
        let mut tags: Vec<Tag> = Vec::with_capacity(self.tags.len() + 1);
        for template in &self.tags {
            if let Ok(tag) = template.tag(text)
                && !tags.contains(&tag)
            {
                tags.push(tag);
            }
        }
        let family: Option<Vec<(&str, &str)>> =
            self.family_placeholders().map(|name| Some((name, text(name)?))).collect();
        if let Some(tag) = family.and_then(|params| self.family_tag(&params)) {
            tags.push(tag);
        }
        tags
    }

    /// Returns the tag that all variants of one row share, if the key has variants: a row change does
    /// not know `…:42:de` and `…:42:en`, so it invalidates `…:42:*`.
    pub(crate) fn family_tag(&self, params: &[(&str, &str)]) -> Option<Tag> {
        if self.key.variants().is_empty() {
            return None;
        }
        let text = self.key.family(params).ok()?;
        Some(
            Tag::parse(&text)
                .or_else(|_| Tag::parse(&hash_text(&text)))
                .expect("a hash is a valid tag"),
        )
    }

    /// Returns the placeholders of the family tag; none if the key has no variants.
    fn family_placeholders(&self) -> impl Iterator<Item = &str> {
        let has_variants = !self.key.variants().is_empty();
        let names = self.key.placeholders().into_iter();
        names.filter(move |name| has_variants && matches!(*name, "id" | "tenant"))
    }
}
