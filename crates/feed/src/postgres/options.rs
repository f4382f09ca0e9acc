//! How a PostgreSQL is followed.

use std::sync::Arc;

use coherence::Clock;

use crate::metrics::Metrics;
use crate::tracked::Tracked;

/// What a [`PostgresFeed`](super::PostgresFeed) has to know.
#[derive(Clone)]
pub struct PostgresOptions {
    /// The source's name in the configuration; goes into every
    /// [`RowChange`](contract::RowChange).
    pub source: Arc<str>,
    /// `postgres://user:password@host:port/database`. Several hosts, divided by commas, are tried
    /// in turn until one is a primary.
    pub url: String,
    /// The publication; made if it is missing and the role may.
    pub publication: String,
    /// The replication slot; made if it is missing. Who holds it follows the log, all others wait.
    pub slot: String,
    /// What is followed.
    pub tables: Vec<Tracked>,
    /// A transaction that changes more rows than this is told as "everything in its tables"
    /// ([`Op::Truncate`](contract::Op)), so that memory stays bounded.
    pub max_changes: usize,
    /// For the lag metric only.
    pub clock: Arc<dyn Clock>,
    /// What is counted.
    pub metrics: Metrics,
}

impl PostgresOptions {
    /// With a publication and a slot both named `tidegate`, and transactions listed up to 100,000
    /// rows.
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
            publication: "tidegate".to_owned(),
            slot: "tidegate".to_owned(),
            tables,
            max_changes: 100_000,
            clock,
            metrics: Metrics::default(),
        }
    }
}
