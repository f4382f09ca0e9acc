//! The shop's pages, as paths.

use std::sync::Arc;

/// One request, independent of its target.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Page {
    /// `/`
    Home,
    /// `/p/{id}`: name, description, price and stock.
    Product(u32),
    /// `/c/{id}?page={page}`: names and prices.
    Category {
        /// Category id.
        id: u32,
        /// From 1.
        page: u32,
    },
    /// `/recommended/{id}`: names, prices and stock of products that go with this one.
    Recommended(u32),
    /// `/search?q={words}`, with the words encoded for a query (`red+lantern`).
    Search(Arc<str>),
    /// `/api/price/{id}`: JSON with `price_cents`.
    Price(u32),
    /// `/api/stock/{id}`: JSON with `stock`.
    Stock(u32),
    /// `/api/product/{id}`: JSON with `price_cents`, `stock` and `name`.
    ProductJson(u32),
    /// `/cart`, private.
    Cart,
    /// `/checkout`, private.
    Checkout,
    /// `/static/style.css`
    Style,
}

impl Page {
    /// Returns the path and query.
    pub fn path(&self) -> String {
        match self {
            Self::Home => "/".into(),
            Self::Product(id) => format!("/p/{id}"),
            Self::Category { id, page: 1 } => format!("/c/{id}"),
            Self::Category { id, page } => format!("/c/{id}?page={page}"),
            Self::Recommended(id) => format!("/recommended/{id}"),
            Self::Search(words) => format!("/search?q={words}"),
            Self::Price(id) => format!("/api/price/{id}"),
            Self::Stock(id) => format!("/api/stock/{id}"),
            Self::ProductJson(id) => format!("/api/product/{id}"),
            Self::Cart => "/cart".into(),
            Self::Checkout => "/checkout".into(),
            Self::Style => "/static/style.css".into(),
        }
    }

    /// Returns whether the response belongs to one user.
    pub fn is_private(&self) -> bool {
        matches!(self, Self::Cart | Self::Checkout)
    }
}
