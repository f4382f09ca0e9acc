//! The truth, as far as an auditor needs it. Whoever runs a drill brings it: it must come from the
//! database's own history, never from what invalidates caches.

use std::ops::ControlFlow;
use std::time::Instant;

/// Which value of a product.
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

/// A value that was shown or was true.
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

/// One value and when it held.
#[derive(Debug, Clone, Copy)]
pub struct Version<'a> {
    /// What a shopper should have read.
    pub value: Value<'a>,
    /// Certainly not visible before this.
    pub from: Instant,
    /// Certainly replaced by now; `None` for the latest.
    pub until: Option<Instant>,
}

/// Knows what was true when.
pub trait Oracle: Send + Sync {
    /// Takes in every write that was committed before this call. Blocks; called from the auditor's
    /// own thread some twenty times a second.
    ///
    /// # Errors
    /// When the truth cannot be read: the run's audit is worth nothing then, and its report says so.
    fn settle(&self) -> anyhow::Result<()>;

    /// Shows `visit` the values that `field` of `product` has had, newest first.
    fn versions(
        &self,
        product: u32,
        field: Field,
        visit: &mut dyn FnMut(Version<'_>) -> ControlFlow<()>,
    );
}

/// Carries out planned writes.
pub trait Writer: Send + Sync {
    /// Commits one write; `false` when the shop refused it (sold out, say). Blocks; called from one
    /// thread, in the plan's order.
    ///
    /// # Errors
    /// When the database failed.
    fn write(&self, write: &crate::plan::Write) -> anyhow::Result<bool>;
}
