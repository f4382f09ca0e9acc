//! Options of a feed of posted events.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use coherence::Clock;
use database::postgres::PostgresUrl;

use crate::debezium::DebeziumMetrics;
use crate::message_keys::MessageKeys;
use crate::metrics::Metrics;
use crate::postgres::options::PostgresOptions;
use crate::postgres::schema::SchemaScope;
use crate::table::{TableName, TrackedTable};

/// Options of a feed of posted events ([`follow`](super::follow)).
#[derive(Clone)]
pub struct DebeziumOptions {
    /// The source's name in the configuration.
    pub source: Arc<str>,
    /// The database that Debezium reads, as in [`PostgresOptions::url`].
    pub url: PostgresUrl,
    /// Debezium's publication (`publication.name`).
    pub publication: String,
    /// Debezium's replication slot (`slot.name`).
    pub slot: String,
    /// The tables to follow.
    pub tables: Vec<TrackedTable>,
    /// As [`PostgresOptions::schema`].
    pub schema: Option<Arc<SchemaScope>>,
    /// The columns of keys and tags, by table. A row in which one of them can't be parsed counts as a
    /// change of its whole table.
    pub key_and_tag_columns: BTreeMap<TableName, Vec<String>>,
    /// The interval between two beats.
    pub beat_interval: Duration,
    /// A transaction that changes more rows than this is delivered as a change of its whole tables.
    pub max_changes: usize,
    /// The keys that verify messages.
    pub message_keys: MessageKeys,
    /// For the lag metric only.
    pub clock: Arc<dyn Clock>,
    /// The metrics of every feed.
    pub metrics: Metrics,
    /// The metrics of this kind of feed.
    pub debezium_metrics: DebeziumMetrics,
}

impl DebeziumOptions {
    /// Uses Debezium's default names, four beats per second, and at most 100,000 rows of a
    /// transaction.
    #[must_use]
    pub fn new(
        source: impl Into<Arc<str>>,
        url: PostgresUrl,
        tables: Vec<TrackedTable>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            source: source.into(),
            url,
            publication: "dbz_publication".to_owned(),
            slot: "debezium".to_owned(),
            tables,
            schema: None,
            key_and_tag_columns: BTreeMap::new(),
            beat_interval: Duration::from_millis(250),
            max_changes: 100_000,
            message_keys: MessageKeys::default(),
            clock,
            metrics: Metrics::default(),
            debezium_metrics: DebeziumMetrics::default(),
        }
    }

    /// Returns the options that concern the log itself.
    pub(super) fn log_options(&self) -> PostgresOptions {
        let (source, url) = (Arc::clone(&self.source), self.url.clone());
        let mut log = PostgresOptions::new(source, url, self.tables.clone(), self.clock.clone());
        log.publication.clone_from(&self.publication);
        log.slot.clone_from(&self.slot);
        log.schema.clone_from(&self.schema);
        log
    }
}
