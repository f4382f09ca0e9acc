//! Message authentication codes (MACs) of values that pass through stores which others may write to.

mod config;
mod keys;
mod refusals;

pub use config::SigningKeysSource;
pub use keys::{KeyId, Mac, MacError, SigningKeys};
pub use refusals::{RefusalReport, Refusals};
