//! Options of a feed of posted events.

use std::time::Duration;

use crate::debezium::DebeziumMetrics;
use crate::mariadb::options::MariaDbOptions;

/// Options of a feed of posted events ([`follow`](super::follow)).
#[derive(Clone)]
pub struct DebeziumOptions {
    /// The options of the log that Debezium reads. Renewed columns are not used.
    pub log: MariaDbOptions,
    /// The interval between two beats.
    pub beat_interval: Duration,
    /// The metrics of this kind of feed.
    pub metrics: DebeziumMetrics,
}

impl DebeziumOptions {
    /// Uses four beats per second.
    #[must_use]
    pub fn new(log: MariaDbOptions) -> Self {
        let log = MariaDbOptions { relayed: true, ..log };
        let beat_interval = Duration::from_millis(250);
        Self { log, beat_interval, metrics: DebeziumMetrics::default() }
    }
}
