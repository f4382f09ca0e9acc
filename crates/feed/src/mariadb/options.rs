//! How a MariaDB is followed.

use std::sync::Arc;

use coherence::Clock;

use crate::metrics::Metrics;
use crate::tracked::Tracked;

/// What a [`MariaDbFeed`](super::MariaDbFeed) has to know.
#[derive(Clone)]
pub struct MariaDbOptions {
    /// The source's name in the configuration; goes into every
    /// [`RowChange`](contract::RowChange).
    pub source: Arc<str>,
    /// `mysql://user:password@host:port/database`
    pub url: String,
    /// Names the lock whose holder follows the log; all others wait.
    pub slot: String,
    /// What is followed: `database.table`, or a bare name for a table of the URL's database.
    pub tables: Vec<Tracked>,
    /// A transaction that changes more rows than this is told as "everything in its tables"
    /// ([`Op::Truncate`](contract::Op)), so that memory stays bounded.
    pub max_changes: usize,
    /// For the lag metric only.
    pub clock: Arc<dyn Clock>,
    /// What is counted.
    pub metrics: Metrics,
}

impl MariaDbOptions {
    /// With a lock named after `tidegate`, and transactions listed up to 100,000 rows.
    #[must_use]
    pub fn new(
        source: impl Into<Arc<str>>,
        url: impl Into<String>,
        tables: Vec<Tracked>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            source: source.into(),
            url: url.into(),
            slot: "tidegate".to_owned(),
            tables,
            max_changes: 100_000,
            clock,
            metrics: Metrics::default(),
        }
    }
}
