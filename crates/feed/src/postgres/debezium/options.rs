use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use coherence::Clock;

use super::metrics::DebeziumMetrics;
use crate::metrics::Metrics;
use crate::postgres::PostgresOptions;
use crate::tracked::{TableName, Tracked};

/// What a [`DebeziumFeed`](super::DebeziumFeed) has to know.
#[derive(Clone)]
pub struct DebeziumOptions {
    /// The source's name in the configuration.
    pub source: Arc<str>,
    /// The database that Debezium reads, as in [`PostgresOptions::url`].
    pub url: String,
    /// Debezium's publication (`publication.name`).
    pub publication: String,
    /// Debezium's replication slot (`slot.name`).
    pub slot: String,
    /// What is followed.
    pub tables: Vec<Tracked>,
    /// The columns that keys and tags are made of, by table: a row in which one of them can't be read
    /// counts as a change of everything in its table.
    pub named: BTreeMap<TableName, Vec<String>>,
    /// How often a beat is written into the log.
    pub beat: Duration,
    /// A transaction that changes more rows than this is told as "everything in its tables".
    pub max_changes: usize,
    /// For the lag metric only.
    pub clock: Arc<dyn Clock>,
    /// What every feed counts.
    pub metrics: Metrics,
    /// What only this one counts.
    pub relayed: DebeziumMetrics,
}

impl DebeziumOptions {
    /// With the names that Debezium gives if it is not told others, four beats a second, and transactions
    /// listed up to 100,000 rows.
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
            publication: "dbz_publication".to_owned(),
            slot: "debezium".to_owned(),
            tables,
            named: BTreeMap::new(),
            beat: Duration::from_millis(250),
            max_changes: 100_000,
            clock,
            metrics: Metrics::default(),
            relayed: DebeziumMetrics::default(),
        }
    }

    /// The same for who looks at the log's side of it.
    pub(super) fn log(&self) -> PostgresOptions {
        let (source, url) = (Arc::clone(&self.source), self.url.clone());
        let mut log = PostgresOptions::new(source, url, self.tables.clone(), self.clock.clone());
        log.publication.clone_from(&self.publication);
        log.slot.clone_from(&self.slot);
        log
    }
}
