//! `[log]`

use contract::config::TableReader;

pub(super) const KEYS: &[&str] = &["format"];

const FORMATS: [(&str, LogFormat); 2] = [("text", LogFormat::Text), ("json", LogFormat::Json)];

/// `[log] format`
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

impl LogFormat {
    pub(super) fn read(table: &mut TableReader<'_>) -> Self {
        table.choice("format", &FORMATS).unwrap_or_default()
    }
}
