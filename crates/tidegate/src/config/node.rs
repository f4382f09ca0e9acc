//! `[node]`

use contract::config::TableReader;
use contract::parse_region;

pub(super) const KEYS: &[&str] = &["region"];

/// The settings of this process.
#[derive(Debug, Default)]
pub(super) struct Node {
    /// Its region.
    pub(super) region: Option<String>,
}

impl Node {
    pub(super) fn read(table: &mut TableReader<'_>) -> Self {
        Self { region: table.text_with("region", parse_region) }
    }
}
