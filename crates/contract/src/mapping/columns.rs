//! The columns of a row that a contract reads, and the tags that they make.

use crate::mapping::row::{Cell, Row};
use crate::mapping::table::TableMapping;
use crate::mapping::unique::add;
use crate::model::contract::{Contract, JoinedEntries, Origin};
use crate::naming::digest::hash_text;
use crate::naming::item::Item;
use crate::naming::placeholder::column_of_row;
use crate::naming::tag::{Tag, TagTemplate};

impl Contract {
    /// Returns the column of a placeholder in a tag or key, for the rows of its table or a joined one; `None` for a
    /// variant that is no column of them.
    pub(crate) fn column_of<'a>(
        &'a self,
        from: Option<&'a Origin>,
        placeholder: &'a str,
    ) -> Option<&'a str> {
        if let Some(column) = column_of_row(placeholder) {
            return Some(column);
        }
        match (from, placeholder) {
            (Some(from), "id") => Some(&from.key),
            (Some(from), "tenant") => Some(&from.tenant),
            _ => match self.number_of_variant(placeholder) {
                Some(number) => from?.variants.get(number).map(String::as_str),
                None => Some(placeholder),
            },
        }
    }

    /// Returns the number of a variant that readers name.
    fn number_of_variant(&self, placeholder: &str) -> Option<usize> {
        if !self.takes_variants() {
            return None;
        }
        self.key.variants().iter().position(|name| *name == placeholder)
    }

    fn own_mapping(&self) -> Option<TableMapping<'_>> {
        Some(TableMapping::own(self, self.from.as_ref()?))
    }

    /// Returns the columns of its table that the tags of an entry are made from, each once.
    pub fn tag_columns(&self) -> Vec<&str> {
        let tags = self.tags.iter().flat_map(TagTemplate::placeholders);
        let mut columns = Vec::new();
        add(&mut columns, tags.filter_map(|name| self.column_of(self.from.as_ref(), name)));
        if self.key.has_variants() {
            add(&mut columns, self.key_columns());
        }
        columns
    }

    /// Returns the columns that the tags of pages are made from, each once.
    pub fn page_tag_columns(&self) -> Vec<&str> {
        let tags = self.page_tags.iter().flat_map(TagTemplate::placeholders);
        let mut columns = Vec::new();
        add(&mut columns, tags.filter_map(|name| self.column_of(self.from.as_ref(), name)));
        columns
    }

    /// Returns the columns of its table whose changes invalidate entries: key, tenant, value and tag columns, each
    /// once. Empty where all columns count or the contract has no `from`.
    pub fn watched_columns(&self) -> Vec<&str> {
        self.own_mapping().map(|mapping| mapping.watched_columns()).unwrap_or_default()
    }

    /// Returns the columns that the key is made from.
    pub fn key_columns(&self) -> Vec<&str> {
        self.own_mapping().map(|mapping| mapping.key_columns()).unwrap_or_default()
    }

    /// Returns the columns that a loader selects in addition to the value: key and tag columns, each
    /// once.
    pub fn load_columns(&self) -> Vec<&str> {
        let mut columns = self.key_columns();
        add(&mut columns, self.tag_columns());
        columns
    }

    /// Returns whether the item equals that of a row which was loaded for it.
    ///
    /// A comparison that folds case or ignores trailing spaces finds rows under ids that never occur in
    /// the log. Such an answer is right, but must not be stored: no change would invalidate the entry.
    /// True if the row does not contain the columns.
    pub fn item_matches_row(&self, item: &Item<'_>, row: &Row) -> bool {
        self.columns_of_item(item).all(|(column, value)| {
            row.get(column).and_then(Cell::text).is_none_or(|text| text == value)
        })
    }

    /// Returns the columns of its table that an item names, with their values.
    fn columns_of_item<'a>(
        &'a self,
        item: &'a Item<'_>,
    ) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.from.iter().flat_map(|from| {
            let variants = from.variants.iter().zip(&item.variants);
            let variants = variants.map(|(column, (_, value))| (column.as_str(), value.as_str()));
            [(&*from.key, &*item.id)].into_iter().chain(variants)
        })
    }

    /// Returns the columns whose old value an invalidation needs but that are not in `identity`, the
    /// columns of the table's replica identity. If there is one, PostgreSQL needs
    /// `ALTER TABLE … REPLICA IDENTITY FULL`.
    pub fn columns_outside_identity(&self, identity: &[&str]) -> Vec<&str> {
        let Some(mapping) = self.own_mapping() else { return Vec::new() };
        let mut columns = mapping.named_columns();
        columns.retain(|column| !identity.contains(column));
        columns
    }

    /// Returns the tags of the entry of `item`, as a fill stores them: those of each of its `rows`. Tags whose column is
    /// unknown or null are left out. For an absent row, pass none.
    pub fn entry_tags(&self, item: &Item<'_>, rows: &[Row]) -> Vec<Tag> {
        let variants = &item.variants;
        let of_item = |placeholder: &str| match placeholder {
            "id" => Some(&*item.id),
            _ => {
                let variant = variants.iter().find(|(name, _)| *name == placeholder);
                variant.map(|(_, value)| value.as_str())
            }
        };
        let mut tags = Vec::with_capacity(self.tags.len() + 1);
        let named = self.columns_of_item(item);
        let no_row =
            [named.map(|(column, value)| (column, Cell::Text(value.to_owned()))).collect()];
        for row in if rows.is_empty() { &no_row } else { rows } {
            self.add_tags(&mut tags, |placeholder| {
                of_item(placeholder).or_else(|| {
                    let column = self.column_of(self.from.as_ref(), placeholder)?;
                    row.get(column).and_then(Cell::text)
                })
            });
        }
        tags
    }

    /// As [`Contract::entry_tags`], for a row with these known `columns` and a key without variants.
    pub fn tags_for(&self, columns: &Row) -> Vec<Tag> {
        self.tags_of(|column| columns.get(column).and_then(Cell::text))
    }

    /// As [`Contract::entry_tags`], for a key without variants, by a function that returns the text of a column.
    pub(crate) fn tags_of<'a>(&'a self, column: impl Fn(&str) -> Option<&'a str>) -> Vec<Tag> {
        let mut tags = Vec::with_capacity(self.tags.len());
        self.add_tags(&mut tags, |placeholder| {
            column(self.column_of(self.from.as_ref(), placeholder)?)
        });
        tags
    }

    fn add_tags<'a>(&'a self, tags: &mut Vec<Tag>, text: impl Fn(&str) -> Option<&'a str>) {
        for template in &self.tags {
            if let Ok(tag) = template.tag(&text) {
                add(tags, [tag]);
            }
        }
        for known in self.known_variants() {
            let names = self.key.placeholders().into_iter();
            let variants = self.key.variants();
            let names = names.filter(|name| {
                let number = variants.iter().position(|variant| variant == name);
                number.is_none_or(|number| number < known)
            });
            let params: Option<Vec<_>> = names.map(|name| Some((name, text(name)?))).collect();
            add(tags, params.and_then(|params| self.family_tag(&params)));
        }
    }

    /// Returns the tag that all variants with these parameters share, if the key has others: a row change does
    /// not know `…:42:de` and `…:42:en`, so it invalidates `…:42:*`.
    pub(crate) fn family_tag(&self, params: &[(&str, &str)]) -> Option<Tag> {
        let is_given = |name: &&str| params.iter().any(|(given, _)| given == name);
        if self.key.variants().iter().all(is_given) {
            return None;
        }
        let text = self.key.family(params).ok()?;
        Some(
            Tag::parse(&text)
                .or_else(|_| Tag::parse(&hash_text(&text)))
                .expect("a hash is a valid tag"),
        )
    }

    /// Returns the numbers of variants that rows may name together with an id, each once. Zero is always one of them: a
    /// row may have a null in place of a variant.
    fn known_variants(&self) -> Vec<usize> {
        let mut known = vec![0];
        if self.takes_variants() {
            let of_key = |entries: &JoinedEntries| *entries == JoinedEntries::OfKey;
            let joined = self.joins.iter().filter(|joined| of_key(&joined.entries));
            let joined = joined.map(|joined| joined.origin.variants.len());
            add(&mut known, self.from.iter().map(|from| from.variants.len()).chain(joined));
        }
        known
    }
}
