//! Order books: recorded sales, prices and returns of a shop.
//!
//! The format is that of the UCI data set "Online Retail": CSV with a header that names at least
//! `InvoiceNo`, `StockCode`, `Description`, `Quantity`, `InvoiceDate` and `UnitPrice`, plain or
//! compressed with zstd. An invoice number that begins with C is a cancellation.

mod book;
mod error;
mod row;

pub use book::{Article, OrderBook, OrderLine, PriceChange};
pub use error::OrdersError;
pub use row::SkippedRows;
