//! How an SQLite database is followed.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use coherence::Clock;

use crate::metrics::Metrics;
use crate::tracked::Tracked;

/// What a [`SqliteFeed`](super::SqliteFeed) has to know.
#[derive(Clone)]
pub struct SqliteOptions {
    /// The source's name in the configuration; goes into every
    /// [`RowChange`](contract::RowChange).
    pub source: Arc<str>,
    /// The database file.
    pub path: PathBuf,
    /// What is followed.
    pub tables: Vec<Tracked>,
    /// How often to look whether somebody has committed; a look costs a few microseconds. While
    /// nobody writes, and where the kernel tells of writes (Linux), it is looked less often.
    pub poll: Duration,
    /// How many changes the log keeps. Older ones are removed by the triggers themselves; a
    /// follower that falls further behind is told that everything changed.
    pub keep: u32,
    /// For the lag metric only.
    pub clock: Arc<dyn Clock>,
    /// What is counted.
    pub metrics: Metrics,
}

impl SqliteOptions {
    /// Looks every millisecond and keeps 65,536 changes.
    #[must_use]
    pub fn new(
        source: impl Into<Arc<str>>,
        path: impl Into<PathBuf>,
        tables: Vec<Tracked>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            source: source.into(),
            path: path.into(),
            tables,
            poll: Duration::from_millis(1),
            keep: 65_536,
            clock,
            metrics: Metrics::default(),
        }
    }
}
