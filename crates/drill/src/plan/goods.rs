//! What a planner has to know about a shop: nothing that is not on its pages.

use std::sync::Arc;

/// One product on opening day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Good {
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
pub struct Goods(pub Vec<Good>);

impl Goods {
    pub(crate) fn len(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap_or(u32::MAX)
    }

    pub(crate) fn get(&self, id: u32) -> Option<&Good> {
        self.0.get(usize::try_from(id).ok()?.checked_sub(1)?)
    }

    /// What people type to find a product: one or two of the longer words of its name.
    pub(crate) fn search_words(&self, id: u32, both: bool) -> Arc<str> {
        let name = self.get(id).map_or("", |good| good.name.as_str());
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
