//! Options of a MariaDB feed.

use std::collections::BTreeMap;
use std::sync::Arc;

use coherence::Clock;
use database::mariadb::{CurrentServer, MariaDbUrl};

use crate::message_keys::MessageKeys;
use crate::metrics::Metrics;
use crate::table::TrackedTable;

/// Options of a [`MariaDbFeed`](super::MariaDbFeed).
#[derive(Clone)]
pub struct MariaDbOptions {
    /// The source's name in the configuration; part of every [`RowChange`](contract::RowChange).
    pub source: Arc<str>,
    /// `mysql://user:password@host:port/database`
    pub url: MariaDbUrl,
    /// The server that loads and samples come from too.
    pub server: CurrentServer,
    /// The name of the lock. Its holder follows the log, all other nodes are on standby.
    pub slot: String,
    /// The tables to follow: `database.table`, or a bare name for a table of the URL's database.
    pub tables: Vec<TrackedTable>,
    /// Further columns of tables, which renewed values are made of. Rows contain them as far as the log does.
    pub renewed: BTreeMap<String, Vec<String>>,
    /// Another process reads the log, and needs no names of columns in it.
    pub relayed: bool,
    /// A transaction that changes more rows than this is delivered as a change of whole tables
    /// ([`Op::Truncate`](contract::Op)), so that memory stays bounded.
    pub max_changes: usize,
    /// The keys that verify messages.
    pub message_keys: MessageKeys,
    /// For the lag metric only.
    pub clock: Arc<dyn Clock>,
    /// The feed's metrics.
    pub metrics: Metrics,
}

impl MariaDbOptions {
    /// Uses a lock named after `tidegate`, and at most 100,000 rows of a transaction.
    #[must_use]
    pub fn new(
        source: impl Into<Arc<str>>,
        url: MariaDbUrl,
        tables: Vec<TrackedTable>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            source: source.into(),
            url,
            server: CurrentServer::default(),
            slot: "tidegate".to_owned(),
            tables,
            renewed: BTreeMap::new(),
            relayed: false,
            max_changes: 100_000,
            message_keys: MessageKeys::default(),
            clock,
            metrics: Metrics::default(),
        }
    }
}
