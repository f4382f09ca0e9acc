//! `[audit]`

use std::path::{Path, PathBuf};

use contract::config::{TableReader, ValueError};

/// The most nodes that one auditor asks.
const PEERS_MAX: usize = 31;

/// How answers are audited.
#[derive(Clone, Debug)]
pub struct AuditOptions {
    /// Reads of the database per second, on average; 0: no audit.
    pub reads_per_second: f64,
    /// The share of clients' answers that is compared with the database, from 0 to 1.
    pub sample_share: f64,
    /// Stored pages that are compared with the upstream per second, at most; 0: none.
    pub pages_per_second: f64,
    /// The names by which [`PeerClient`](super::PeerClient) finds the other nodes.
    pub peers: Vec<String>,
    /// The file with the access token for the other nodes.
    pub peers_token: Option<PathBuf>,
}

impl Default for AuditOptions {
    fn default() -> Self {
        Self {
            reads_per_second: 20.0,
            sample_share: 0.001,
            pages_per_second: 0.2,
            peers: Vec::new(),
            peers_token: None,
        }
    }
}

impl AuditOptions {
    /// The keys of `[audit]`.
    pub const KEYS: &[&str] =
        &["reads_per_second", "sample", "pages_per_second", "peers", "peers_token"];

    /// Reads `[audit]`. `folder`: the base of relative file names. `parse_peer`: returns the name of the node
    /// at an address. With problems, the values are defaults where they could not be read.
    pub fn read(
        table: &mut TableReader<'_>,
        folder: &Path,
        parse_peer: impl Fn(&str) -> Result<String, ValueError>,
    ) -> Self {
        let default = Self::default();
        let reads = table.number("reads_per_second", 0.0..=10_000.0);
        let pages = table.number("pages_per_second", 0.0..=1_000.0);
        Self {
            reads_per_second: reads.unwrap_or(default.reads_per_second),
            sample_share: table.number("sample", 0.0..=1.0).unwrap_or(default.sample_share),
            pages_per_second: pages.unwrap_or(default.pages_per_second),
            peers: peers(table, parse_peer),
            peers_token: table.file("peers_token", folder),
        }
    }
}

fn peers(
    table: &mut TableReader<'_>,
    parse: impl Fn(&str) -> Result<String, ValueError>,
) -> Vec<String> {
    let items = table.list_with("peers", parse);
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
