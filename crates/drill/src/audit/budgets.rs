//! The staleness that the audited contracts allow.

use std::time::Duration;

use super::oracle::Field;
use crate::page::Page;

/// Allowed staleness by kind of data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StalenessBudgets {
    /// Prices on product pages and in the API.
    pub price: Duration,
    /// Stock on product pages and in the API.
    pub stock: Duration,
    /// Names on all pages, and all values on home, category and search pages.
    pub listing: Duration,
    /// All values in recommendations.
    pub recommended: Duration,
}

impl Default for StalenessBudgets {
    fn default() -> Self {
        Self {
            price: Duration::from_secs(1),
            stock: Duration::from_secs(2),
            listing: Duration::from_secs(60),
            recommended: Duration::from_secs(10),
        }
    }
}

impl StalenessBudgets {
    /// Returns the budget of `field` as shown on `page`.
    pub(super) fn budget(&self, page: &Page, field: Field) -> Duration {
        let strict = matches!(
            page,
            Page::Product(_) | Page::Price(_) | Page::Stock(_) | Page::ProductJson(_)
        );
        if matches!(page, Page::Recommended(_)) {
            return self.recommended;
        }
        match field {
            Field::Price if strict => self.price,
            Field::Stock if strict => self.stock,
            _ => self.listing,
        }
    }
}
