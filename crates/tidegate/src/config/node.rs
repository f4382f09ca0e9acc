//! `[node]`

use std::time::Duration;

use contract::config::TableReader;
use contract::parse_region;

pub(super) const KEYS: &[&str] = &["region", "stop_delay"];

/// The settings of this process.
#[derive(Debug, Default)]
pub(super) struct Node {
    /// Its region.
    pub(super) region: Option<String>,
    /// How long `/readyz` says that the process stops before its listeners close.
    pub(super) stop_delay: Duration,
}

/// The longest `stop_delay`.
const STOP_DELAY_MAX: Duration = Duration::from_secs(300);

impl Node {
    pub(super) fn read(table: &mut TableReader<'_>) -> Self {
        Self {
            region: table.text_with("region", parse_region),
            stop_delay: table
                .duration("stop_delay", Duration::ZERO..=STOP_DELAY_MAX)
                .unwrap_or_default(),
        }
    }
}
