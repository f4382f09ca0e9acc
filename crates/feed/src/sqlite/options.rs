//! Options of an SQLite feed.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use coherence::Clock;

use crate::message_keys::MessageKeys;
use crate::metrics::Metrics;
use crate::table::TrackedTable;

/// Options of a [`SqliteFeed`](super::SqliteFeed).
#[derive(Clone)]
pub struct SqliteOptions {
    /// The source's name in the configuration; part of every [`RowChange`](contract::RowChange).
    pub source: Arc<str>,
    /// The database file.
    pub path: PathBuf,
    /// The tables to follow.
    pub tables: Vec<TrackedTable>,
    /// The interval between two polls for commits; a poll costs a few microseconds. While the
    /// database is not written to, and if the kernel reports writes (Linux), polls are less
    /// frequent.
    pub poll: Duration,
    /// How many changes the log keeps. The triggers delete older ones; a feed that falls further
    /// behind delivers a change of everything.
    pub keep: u32,
    /// Closes the connections to the file that others keep for later. Called before the feed opens the file: a
    /// connection to a replaced file would keep its locks.
    pub release: Option<Arc<dyn Fn() + Send + Sync>>,
    /// The keys that verify messages.
    pub message_keys: MessageKeys,
    /// For the lag metric only.
    pub clock: Arc<dyn Clock>,
    /// The feed's metrics.
    pub metrics: Metrics,
}

impl SqliteOptions {
    /// Polls every millisecond and keeps 65,536 changes.
    #[must_use]
    pub fn new(
        source: impl Into<Arc<str>>,
        path: impl Into<PathBuf>,
        tables: Vec<TrackedTable>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            source: source.into(),
            path: path.into(),
            tables,
            poll: Duration::from_millis(1),
            keep: 65_536,
            release: None,
            message_keys: MessageKeys::default(),
            clock,
            metrics: Metrics::default(),
        }
    }
}
