//! Errors of reading an order book.

/// An error of reading an order book. Malformed rows are not errors; they are skipped and counted.
#[derive(Debug)]
pub enum OrdersError {
    /// The file cannot be read or decompressed.
    File(std::io::Error),
    /// The file is not CSV.
    Csv(csv::Error),
    /// The header lacks this column.
    Column(&'static str),
    /// The book has no order lines.
    Empty,
}

impl std::fmt::Display for OrdersError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(error) => write!(formatter, "the order book cannot be read: {error}"),
            Self::Csv(error) => write!(formatter, "the order book is not CSV: {error}"),
            Self::Column(name) => write!(formatter, "the order book's header has no column {name}"),
            Self::Empty => formatter.write_str("the order book has no order lines"),
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
