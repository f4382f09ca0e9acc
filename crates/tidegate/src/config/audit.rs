//! `[audit]`

use contract::config::{TableReader, ValueError};

use super::syntax::list_with;
use super::url::http_url;

pub(super) const KEYS: &[&str] = &["reads_per_second", "sample", "pages_per_second", "peers"];

/// The most nodes that one auditor asks.
const PEERS_MAX: usize = 31;

/// The auditor's settings.
#[derive(Clone, Debug)]
pub(crate) struct Audit {
    /// Reads of the database per second, on average; 0: no audit.
    pub(crate) reads_per_second: f64,
    /// The share of the data API's answers that is compared with the database, from 0 to 1.
    pub(crate) sample: f64,
    /// Stored pages that are compared with the upstream per second, at most; 0: none.
    pub(crate) pages_per_second: f64,
    /// The other nodes' admin listeners, host and port.
    pub(crate) peers: Vec<String>,
}

impl Default for Audit {
    fn default() -> Self {
        Self { reads_per_second: 20.0, sample: 0.001, pages_per_second: 0.2, peers: Vec::new() }
    }
}

impl Audit {
    pub(super) fn read(table: &mut TableReader<'_>) -> Self {
        let default = Self::default();
        Self {
            reads_per_second: table
                .number("reads_per_second", 0.0..=10_000.0)
                .unwrap_or(default.reads_per_second),
            sample: table.number("sample", 0.0..=1.0).unwrap_or(default.sample),
            pages_per_second: table
                .number("pages_per_second", 0.0..=1_000.0)
                .unwrap_or(default.pages_per_second),
            peers: peers(table),
        }
    }
}

fn peers(table: &mut TableReader<'_>) -> Vec<String> {
    let items = list_with(table, "peers", peer);
    if items.len() > PEERS_MAX {
        let message = format!("names {} nodes", items.len());
        table.problem("out-of-range", "peers", message, format!("use at most {PEERS_MAX}"));
    }
    let mut peers: Vec<String> = Vec::new();
    for (key, peer) in items {
        if peers.contains(&peer) {
            table.problem("duplicate", &key, format!("`{peer}` is there twice"), "remove one");
        }
        peers.push(peer);
    }
    peers
}

/// Returns the host and port of a node's admin listener.
fn peer(text: &str) -> Result<String, ValueError> {
    let url = http_url(text)?;
    Ok(format!("{}:{}", url.host().unwrap_or_default(), url.port_u16().unwrap_or(80)))
}
