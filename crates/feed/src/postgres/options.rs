//! Options of a PostgreSQL feed.

use std::sync::Arc;

use coherence::Clock;
use database::postgres::PostgresUrl;

use super::schema::SchemaScope;
use crate::message_keys::MessageKeys;
use crate::metrics::Metrics;
use crate::schema::{ScopedContract, ScopedTable};
use crate::table::{TableName, TrackedTable};

/// Options of a [`PostgresFeed`](super::PostgresFeed).
#[derive(Clone)]
pub struct PostgresOptions {
    /// The source's name in the configuration; part of every [`RowChange`](contract::RowChange).
    pub source: Arc<str>,
    /// `postgres://user:password@host:port/database`. Several hosts, separated by commas, are tried
    /// in order until one is a primary.
    pub url: PostgresUrl,
    /// The publication; created if it is missing and the role may create it.
    pub publication: String,
    /// The replication slot; created if it is missing. Its holder follows the log, all other nodes
    /// are on standby.
    pub slot: String,
    /// The tables to follow.
    pub tables: Vec<TrackedTable>,
    /// The contracts whose definitions are followed. `None`: only the definitions of the tables are.
    pub schema: Option<Arc<SchemaScope>>,
    /// A transaction that changes more rows than this is delivered as a change of its whole tables
    /// ([`Op::Truncate`](contract::Op)), so that memory stays bounded.
    pub max_changes: usize,
    /// The keys that verify messages.
    pub message_keys: MessageKeys,
    /// For the lag metric only.
    pub clock: Arc<dyn Clock>,
    /// The feed's metrics.
    pub metrics: Metrics,
}

impl PostgresOptions {
    /// Uses a publication and a slot both named `tidegate`, and at most 100,000 rows of a
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
            publication: "tidegate".to_owned(),
            slot: "tidegate".to_owned(),
            tables,
            schema: None,
            max_changes: 100_000,
            message_keys: MessageKeys::default(),
            clock,
            metrics: Metrics::default(),
        }
    }

    /// Returns the contracts whose definitions are followed.
    pub(super) fn scope(&self) -> Arc<SchemaScope> {
        let contract = |tracked: &TrackedTable| ScopedContract {
            name: tracked.table.clone(),
            tables: vec![ScopedTable {
                name: TableName::parse(&tracked.table),
                bare_name: None,
                watched: Vec::new(),
            }],
            raising: Vec::new(),
            value: None,
            changes_by_clock: false,
        };
        let of_tables = || {
            let contracts = self.tables.iter().map(contract).collect();
            Arc::new(SchemaScope::new(&self.url, &self.publication, contracts))
        };
        self.schema.clone().unwrap_or_else(of_tables)
    }
}
