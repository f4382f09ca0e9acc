//! A shop's order book as recorded: what was sold when, at what price, and what came back.
//!
//! The format is that of the UCI data set "Online Retail": CSV with a header that names at least
//! `InvoiceNo`, `StockCode`, `Description`, `Quantity`, `InvoiceDate` and `UnitPrice`, plain or
//! compressed with zstd. An invoice that begins with C is a cancellation.

mod parse;

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

pub use parse::LeftOut;
use parse::{Columns, Row};

/// Why an order book cannot be read at all. Single bad rows are no error; see [`LeftOut`].
#[derive(Debug)]
pub enum OrdersError {
    /// The file cannot be read or decompressed.
    File(std::io::Error),
    /// It is not CSV.
    Csv(csv::Error),
    /// The header lacks this column.
    Column(&'static str),
    /// There is not one order line in it.
    Empty,
}

impl std::fmt::Display for OrdersError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(error) => write!(formatter, "the order book cannot be read: {error}"),
            Self::Csv(error) => write!(formatter, "the order book is not CSV: {error}"),
            Self::Column(name) => write!(formatter, "the order book's header has no column {name}"),
            Self::Empty => formatter.write_str("the order book has not one order line"),
        }
    }
}

impl std::error::Error for OrdersError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::File(error) => Some(error),
            Self::Csv(error) => Some(error),
            Self::Column(_) | Self::Empty => None,
        }
    }
}

/// One article that the book sells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Article {
    /// The shop's article number.
    pub sku: String,
    /// The first description it had.
    pub name: String,
    /// Its most frequent price in its first month, in minor units.
    pub price_cents: i64,
    /// A stock to open with: three usual orders and a dozen.
    pub stock: i64,
}

/// One order line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderLine {
    /// Seconds since 1970 by the shop's own clock.
    pub at: i64,
    /// 1 for the first of [`OrderBook::articles`].
    pub article: u32,
    /// Pieces.
    pub quantity: u32,
    /// Whether they came back.
    pub returned: bool,
}

/// The most frequent price of an article changed from one month to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PriceMove {
    /// 1 for the first of [`OrderBook::articles`].
    pub article: u32,
    /// The new price in minor units.
    pub price_cents: i64,
}

/// A whole book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderBook {
    /// In the order of their first sale.
    pub articles: Vec<Article>,
    /// By time.
    pub lines: Vec<OrderLine>,
    /// By month.
    pub moves: Vec<PriceMove>,
    /// Rows that are not sales of articles.
    pub left_out: LeftOut,
}

impl OrderBook {
    /// Reads a book from a file, compressed or not.
    ///
    /// # Errors
    /// When it is no order book at all.
    pub fn open(path: &Path) -> Result<Self, OrdersError> {
        let file = File::open(path).map_err(OrdersError::File)?;
        Self::read(plain(file).map_err(OrdersError::File)?)
    }

    /// Reads a book from CSV.
    ///
    /// # Errors
    /// When it is no order book at all.
    pub fn read(csv: impl Read) -> Result<Self, OrdersError> {
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(csv);
        let columns = Columns::of(reader.byte_headers().map_err(OrdersError::Csv)?)?;
        let mut ledger = Ledger::default();
        let mut record = csv::ByteRecord::new();
        while reader.read_byte_record(&mut record).map_err(OrdersError::Csv)? {
            let line = record.position().map_or(0, csv::Position::line);
            match columns.row(&record) {
                Ok(row) => ledger.enter(row),
                Err(reason) => ledger.left_out.add(line, reason),
            }
        }
        ledger.close()
    }

    /// Lines for people: what the book holds and what was left out.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = vec![format!(
            "Order book: {} lines of {} articles, {} monthly price moves (replayed ahead of their month).",
            self.lines.len(),
            self.articles.len(),
            self.moves.len()
        )];
        notes.extend(self.left_out.notes());
        notes
    }
}

/// The plain bytes of a file that may be compressed with zstd.
pub(super) fn plain(file: File) -> std::io::Result<Box<dyn Read>> {
    const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
    let mut reader = BufReader::with_capacity(1 << 16, file);
    if reader.fill_buf()?.starts_with(&ZSTD) {
        Ok(Box::new(zstd::stream::read::Decoder::with_buffer(reader)?))
    } else {
        Ok(Box::new(reader))
    }
}

/// Prices of one article in one month and how often each was asked.
type Prices = BTreeMap<i64, u32>;

#[derive(Default)]
struct Ledger {
    ids: HashMap<String, u32>,
    articles: Vec<Entry>,
    lines: Vec<OrderLine>,
    left_out: LeftOut,
}

struct Entry {
    sku: String,
    name: String,
    sold: u64,
    orders: u64,
    months: BTreeMap<i64, Prices>,
}

impl Ledger {
    fn enter(&mut self, row: Row) {
        let id = match self.ids.get(&row.sku) {
            Some(id) => *id,
            None => {
                let id = u32::try_from(self.articles.len() + 1).unwrap_or(u32::MAX);
                self.ids.insert(row.sku.clone(), id);
                self.articles.push(Entry {
                    sku: row.sku,
                    name: String::new(),
                    sold: 0,
                    orders: 0,
                    months: BTreeMap::new(),
                });
                id
            }
        };
        let entry = &mut self.articles[id as usize - 1];
        if entry.name.is_empty() {
            entry.name = row.name;
        }
        let prices = entry.months.entry(row.month).or_default();
        // A refund's price is the price of some earlier day.
        if !row.returned {
            *prices.entry(row.price_cents).or_default() += 1;
            entry.sold += u64::from(row.quantity);
            entry.orders += 1;
        } else if prices.is_empty() {
            prices.insert(row.price_cents, 0);
        }
        let line =
            OrderLine { at: row.at, article: id, quantity: row.quantity, returned: row.returned };
        self.lines.push(line);
    }

    fn close(mut self) -> Result<OrderBook, OrdersError> {
        if self.lines.is_empty() {
            return Err(OrdersError::Empty);
        }
        self.lines.sort_by_key(|line| line.at);
        let mut moves = Vec::new();
        let mut articles = Vec::with_capacity(self.articles.len());
        for (article, entry) in (1..).zip(self.articles) {
            let usual: Vec<(i64, i64)> = entry
                .months
                .iter()
                .map(|(month, prices)| (*month, most_frequent(prices)))
                .collect();
            for pair in usual.windows(2) {
                if let [(_, old), (month, new)] = *pair
                    && old != new
                {
                    moves.push((month, scatter(article), PriceMove { article, price_cents: new }));
                }
            }
            let usual_order = entry.sold / entry.orders.max(1);
            articles.push(Article {
                name: if entry.name.is_empty() { entry.sku.clone() } else { entry.name },
                sku: entry.sku,
                price_cents: usual.first().map_or(0, |(_, price)| *price),
                stock: 12 + 3 * i64::try_from(usual_order).unwrap_or(0),
            });
        }
        moves.sort_by_key(|(month, scattered, _)| (*month, *scattered));
        let moves = moves.into_iter().map(|(_, _, moved)| moved).collect();
        Ok(OrderBook { articles, lines: self.lines, moves, left_out: self.left_out })
    }
}

/// Among equals the lowest.
fn most_frequent(prices: &Prices) -> i64 {
    let mut best = (0, 0);
    for (price, count) in prices {
        if best == (0, 0) || *count > best.1 {
            best = (*price, *count);
        }
    }
    best.0
}

/// Repricing does not go by the date of an article's first sale.
fn scatter(article: u32) -> u32 {
    article.wrapping_mul(0x9e37_79b1)
}

#[cfg(test)]
mod tests;
