//! The shop's products as a planner knows them: only data that its pages show.

use std::sync::Arc;

/// One product at the start of the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InventoryItem {
    /// Name as shown.
    pub name: String,
    /// Category id.
    pub category: u32,
    /// Price in minor units.
    pub price_cents: i64,
    /// Pieces in stock.
    pub stock: i64,
}

/// The shop's products; the first has id 1.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inventory(pub Vec<InventoryItem>);

impl Inventory {
    pub(crate) fn len(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap_or(u32::MAX)
    }

    pub(crate) fn get(&self, id: u32) -> Option<&InventoryItem> {
        self.0.get(usize::try_from(id).ok()?.checked_sub(1)?)
    }

    pub(crate) fn get_mut(&mut self, id: u32) -> Option<&mut InventoryItem> {
        self.0.get_mut(usize::try_from(id).ok()?.checked_sub(1)?)
    }

    /// Returns a likely search query for a product: the longest word of its name, or the two
    /// longest if `both`, joined with `+`.
    pub(crate) fn search_words(&self, id: u32, both: bool) -> Arc<str> {
        let name = self.get(id).map_or("", |item| item.name.as_str());
        let mut words: Vec<String> = name
            .split(|letter: char| !letter.is_ascii_alphanumeric())
            .filter(|word| word.len() > 2)
            .map(str::to_ascii_lowercase)
            .collect();
        words.sort_by_key(|word| std::cmp::Reverse(word.len()));
        words.truncate(if both { 2 } else { 1 });
        if words.is_empty() { "gift".into() } else { words.join("+").into() }
    }
}
