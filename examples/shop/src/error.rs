//! The shop's errors.

/// An error of the shop's database or its files.
#[derive(Debug)]
pub enum ShopError {
    /// SQLite returned an error, or the file is not a shop's database.
    Database(rusqlite::Error),
    /// The folder or file cannot be used.
    File(std::io::Error),
    /// The shop is closing: a background task was cancelled.
    Closing,
}

impl std::fmt::Display for ShopError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Database(_) => formatter.write_str("the shop's database failed"),
            Self::File(_) => formatter.write_str("the shop's file cannot be used"),
            Self::Closing => formatter.write_str("the shop is closing"),
        }
    }
}

impl std::error::Error for ShopError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Database(error) => Some(error),
            Self::File(error) => Some(error),
            Self::Closing => None,
        }
    }
}

impl From<rusqlite::Error> for ShopError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

impl From<std::io::Error> for ShopError {
    fn from(error: std::io::Error) -> Self {
        Self::File(error)
    }
}
