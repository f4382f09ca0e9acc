//! The auditor's interface to the ground truth. The caller of a drill implements it; it must read
//! the database's own history, never the events that invalidate caches.

use std::ops::ControlFlow;
use std::time::Instant;

/// An audited value of a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Field {
    /// Price in minor units.
    Price,
    /// Pieces in stock.
    Stock,
    /// The name.
    Name,
}

impl std::fmt::Display for Field {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Price => "price",
            Self::Stock => "stock",
            Self::Name => "name",
        })
    }
}

/// A value of a field, in a response or in the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// A price or stock level.
    Number(i64),
    /// A text.
    Text(&'a str),
}

impl std::fmt::Display for Value<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => write!(formatter, "{number}"),
            Self::Text(text) => write!(formatter, "“{text}”"),
        }
    }
}

/// One value and the time in which it was current.
#[derive(Debug, Clone, Copy)]
pub struct Version<'a> {
    /// The committed value.
    pub value: Value<'a>,
    /// A time before which the value was certainly not visible.
    pub from: Instant,
    /// A time by which the value was certainly replaced; `None` for the latest.
    pub until: Option<Instant>,
}

/// The history of committed values.
pub trait Oracle: Send + Sync {
    /// Reads every write that was committed before this call. Blocks; called from the auditor's
    /// thread about twenty times a second.
    ///
    /// # Errors
    /// The history cannot be read. The audit of the run is then void, and the report says so.
    fn catch_up(&self) -> anyhow::Result<()>;

    /// Calls `visit` with the versions of `field` of `product`, newest first.
    fn versions(
        &self,
        product: u32,
        field: Field,
        visit: &mut dyn FnMut(Version<'_>) -> ControlFlow<()>,
    );
}
