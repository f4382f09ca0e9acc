//! The sink for planned writes.

use super::plan::Write;

/// Commits planned writes.
pub trait Writer: Send + Sync {
    /// Commits one write. Returns `false` if the shop refused it, for example because the product
    /// is sold out. Blocks; called from one thread, in the plan's order.
    ///
    /// # Errors
    /// The database failed.
    fn write(&self, write: &Write) -> anyhow::Result<bool>;
}
