//! The pages that shoppers request, in the measured proportions of real shops.

use rand::RngExt;

use super::inventory::Inventory;
use super::random::{Popularity, Rng};
use crate::page::Page;

/// Zipf exponent of page views, as measured on a real shop.
pub(super) const PAGE_EXPONENT: f64 = 0.83;
/// Zipf exponent of reads, as measured on the entity cache of a real shop.
const READ_EXPONENT: f64 = 0.6;
/// Products per category page, as the shop shows them.
const PRODUCTS_PER_PAGE: usize = 24;

/// The distribution of requests over pages.
pub(super) struct PageMix {
    pub(super) pages: Popularity,
    reads: Popularity,
    /// Id and number of pages.
    categories: Vec<(u32, u32)>,
}

impl PageMix {
    /// Returns a mix with generated popularity.
    pub(super) fn zipf(inventory: &Inventory, seed: u64) -> Self {
        let count = inventory.len();
        let pages = Popularity::zipf(count, PAGE_EXPONENT, seed);
        Self::new(inventory, pages, Popularity::zipf(count, READ_EXPONENT, seed))
    }

    /// Returns a mix with the given popularity of page views and API reads.
    pub(super) fn new(inventory: &Inventory, pages: Popularity, reads: Popularity) -> Self {
        let mut sizes = std::collections::BTreeMap::<u32, usize>::new();
        for item in &inventory.0 {
            *sizes.entry(item.category).or_default() += 1;
        }
        let categories = sizes
            .into_iter()
            .map(|(id, size)| (id, u32::try_from(size.div_ceil(PRODUCTS_PER_PAGE)).unwrap_or(1)))
            .collect();
        Self { pages, reads, categories }
    }

    /// Draws the next page of a random shopper: 60 % product pages, 25 % search and category, the
    /// rest home, API reads, basket and checkout.
    pub(super) fn page(&self, inventory: &Inventory, rng: &mut Rng) -> Page {
        let product = self.pages.pick(rng).unwrap_or(1);
        match rng.random_range(0..1000) {
            0..600 => Page::Product(product),
            600..750 => self.category(rng),
            // Search queries concentrate on few terms: one or two words of popular names.
            750..850 => {
                let popular = self.pages.pick_top(rng, 0.05).unwrap_or(product);
                Page::Search(inventory.search_words(popular, popular.is_multiple_of(3)))
            }
            850..900 => Page::Home,
            900..975 => {
                let read = self.read(rng).unwrap_or(product);
                match rng.random_range(0..7) {
                    0..3 => Page::Price(read),
                    3..6 => Page::Stock(read),
                    _ => Page::ProductJson(read),
                }
            }
            975..985 => Page::Cart,
            985..990 => Page::Checkout,
            _ => Page::Style,
        }
    }

    /// Zipf 0.6 alone gives the top 1 % too small a share: a fifth of the reads go there on top.
    fn read(&self, rng: &mut Rng) -> Option<u32> {
        if rng.random_range(0..5) == 0 {
            self.reads.pick_top(rng, 0.01)
        } else {
            self.reads.pick(rng)
        }
    }

    fn category(&self, rng: &mut Rng) -> Page {
        if self.categories.is_empty() {
            return Page::Home;
        }
        let (id, pages) = self.categories[rng.random_range(0..self.categories.len())];
        // Most visits stay on the first page; each further page is half as likely.
        let mut page = 1;
        while page < pages && rng.random_range(0..2) == 0 {
            page += 1;
        }
        Page::Category { id, page }
    }
}
