//! The staleness that the audited contracts allow.

use std::time::Duration;

use super::oracle::Field;
use crate::page::Page;

/// The kinds of values that have a contract of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Prices on product pages and in the API.
    Price,
    /// Stock on product pages and in the API.
    Stock,
    /// Names on all pages, and all values on home, category and search pages.
    Listing,
    /// All values in recommendations.
    Recommended,
}

impl Kind {
    /// All kinds, in the order of reports.
    pub(crate) const ALL: [Self; 4] = [Self::Price, Self::Stock, Self::Listing, Self::Recommended];

    /// Returns the kind of `field` as shown on `page`.
    pub(super) fn of(page: &Page, field: Field) -> Self {
        match (page, field) {
            (Page::Recommended(_), _) => Self::Recommended,
            (
                Page::Product(_) | Page::Price(_) | Page::Stock(_) | Page::ProductJson(_),
                Field::Price,
            ) => Self::Price,
            (
                Page::Product(_) | Page::Price(_) | Page::Stock(_) | Page::ProductJson(_),
                Field::Stock,
            ) => Self::Stock,
            _ => Self::Listing,
        }
    }

    /// Returns the name in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Price => "price",
            Self::Stock => "stock",
            Self::Listing => "list",
            Self::Recommended => "recommended",
        }
    }
}

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
    /// Returns the budget of values of `kind`.
    pub(crate) fn of(&self, kind: Kind) -> Duration {
        match kind {
            Kind::Price => self.price,
            Kind::Stock => self.stock,
            Kind::Listing => self.listing,
            Kind::Recommended => self.recommended,
        }
    }
}
