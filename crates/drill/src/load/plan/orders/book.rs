//! The order book: articles, order lines and monthly price changes.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::error::OrdersError;
use super::row::{Columns, Row, SkippedRows};
use crate::load::plan::decompress::decompressed;

/// One article that the book sells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Article {
    /// The shop's article number.
    pub sku: String,
    /// Its first description.
    pub name: String,
    /// Its most frequent price in its first month, in minor units.
    pub price_cents: i64,
    /// Initial stock: three orders of the mean quantity, plus 12.
    pub stock: i64,
}

/// One order line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderLine {
    /// Seconds since 1970 in the shop's local time.
    pub at: i64,
    /// Number of the article: 1 for the first of [`OrderBook::articles`].
    pub article: u32,
    /// Pieces.
    pub quantity: u32,
    /// Whether the pieces were returned.
    pub returned: bool,
}

/// A change of an article's most frequent price from one month to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PriceChange {
    /// Number of the article: 1 for the first of [`OrderBook::articles`].
    pub article: u32,
    /// The new price in minor units.
    pub price_cents: i64,
}

/// A whole order book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderBook {
    /// Articles in the order of their first sale.
    pub articles: Vec<Article>,
    /// Order lines by time.
    pub lines: Vec<OrderLine>,
    /// Price changes by month.
    pub price_changes: Vec<PriceChange>,
    /// Rows that are not sales or returns of articles.
    pub skipped: SkippedRows,
}

impl OrderBook {
    /// Reads a book from a file, compressed or not.
    ///
    /// # Errors
    /// The file cannot be read, or is not an order book.
    pub fn open(path: &Path) -> Result<Self, OrdersError> {
        let file = File::open(path).map_err(OrdersError::File)?;
        Self::read(decompressed(file).map_err(OrdersError::File)?)
    }

    /// Reads a book from CSV.
    ///
    /// # Errors
    /// The input is not an order book.
    pub fn read(csv: impl Read) -> Result<Self, OrdersError> {
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(csv);
        let columns = Columns::of(reader.byte_headers().map_err(OrdersError::Csv)?)?;
        let mut builder = BookBuilder::default();
        let mut record = csv::ByteRecord::new();
        while reader.read_byte_record(&mut record).map_err(OrdersError::Csv)? {
            let line = record.position().map_or(0, csv::Position::line);
            match columns.row(&record) {
                Ok(row) => builder.add(row),
                Err(reason) => builder.skipped.add(line, reason),
            }
        }
        builder.finish()
    }

    /// Returns a summary of the book and of the skipped rows as lines of the report.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = vec![format!(
            "Order book: {} lines of {} articles, {} monthly price changes (replayed ahead of their month).",
            self.lines.len(),
            self.articles.len(),
            self.price_changes.len()
        )];
        notes.extend(self.skipped.notes());
        notes
    }
}

/// Prices of one article in one month, each with its number of sales.
type Prices = BTreeMap<i64, u32>;

#[derive(Default)]
struct BookBuilder {
    ids: HashMap<String, u32>,
    articles: Vec<ArticleStats>,
    lines: Vec<OrderLine>,
    skipped: SkippedRows,
}

struct ArticleStats {
    sku: String,
    name: String,
    sold: u64,
    orders: u64,
    months: BTreeMap<i64, Prices>,
}

impl BookBuilder {
    fn add(&mut self, row: Row) {
        let id = match self.ids.get(&row.sku) {
            Some(id) => *id,
            None => {
                let id = u32::try_from(self.articles.len() + 1).unwrap_or(u32::MAX);
                self.ids.insert(row.sku.clone(), id);
                self.articles.push(ArticleStats {
                    sku: row.sku,
                    name: String::new(),
                    sold: 0,
                    orders: 0,
                    months: BTreeMap::new(),
                });
                id
            }
        };
        let stats = &mut self.articles[id as usize - 1];
        if stats.name.is_empty() {
            stats.name = row.name;
        }
        let prices = stats.months.entry(row.month).or_default();
        // A refund carries the price of an earlier day.
        if !row.returned {
            *prices.entry(row.price_cents).or_default() += 1;
            stats.sold += u64::from(row.quantity);
            stats.orders += 1;
        } else if prices.is_empty() {
            prices.insert(row.price_cents, 0);
        }
        let line =
            OrderLine { at: row.at, article: id, quantity: row.quantity, returned: row.returned };
        self.lines.push(line);
    }

    fn finish(mut self) -> Result<OrderBook, OrdersError> {
        if self.lines.is_empty() {
            return Err(OrdersError::Empty);
        }
        self.lines.sort_by_key(|line| line.at);
        let mut changes = Vec::new();
        let mut articles = Vec::with_capacity(self.articles.len());
        for (article, stats) in (1..).zip(self.articles) {
            let monthly: Vec<(i64, i64)> = stats
                .months
                .iter()
                .map(|(month, prices)| (*month, most_frequent(prices)))
                .collect();
            for pair in monthly.windows(2) {
                if let [(_, old), (month, new)] = *pair
                    && old != new
                {
                    changes.push((
                        month,
                        shuffle_key(article),
                        PriceChange { article, price_cents: new },
                    ));
                }
            }
            let mean_quantity = stats.sold / stats.orders.max(1);
            articles.push(Article {
                name: if stats.name.is_empty() { stats.sku.clone() } else { stats.name },
                sku: stats.sku,
                price_cents: monthly.first().map_or(0, |(_, price)| *price),
                stock: 12 + 3 * i64::try_from(mean_quantity).unwrap_or(0),
            });
        }
        changes.sort_by_key(|(month, shuffled, _)| (*month, *shuffled));
        let price_changes = changes.into_iter().map(|(_, _, change)| change).collect();
        Ok(OrderBook { articles, lines: self.lines, price_changes, skipped: self.skipped })
    }
}

/// Returns the price with the most sales; among equals the lowest.
fn most_frequent(prices: &Prices) -> i64 {
    let mut best = (0, 0);
    for (price, count) in prices {
        if best == (0, 0) || *count > best.1 {
            best = (*price, *count);
        }
    }
    best.0
}

/// Returns a pseudo-random sort key, so that price changes of a month are not ordered by the date of
/// an article's first sale.
fn shuffle_key(article: u32) -> u32 {
    article.wrapping_mul(0x9e37_79b1)
}

#[cfg(test)]
mod tests;
