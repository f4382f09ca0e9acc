//! `[audit]`

use serde::Deserialize;

use super::url::http_url;

/// The most nodes that one auditor asks.
const PEERS_MAX: usize = 31;

/// The auditor's settings.
#[derive(Clone, Debug)]
pub(crate) struct Audit {
    /// Reads of the database per second, on average; 0: no audit.
    pub(crate) reads_per_second: f64,
    /// The share of the data API's answers that is compared with the database, from 0 to 1.
    pub(crate) sample: f64,
    /// The other nodes' admin listeners, host and port.
    pub(crate) peers: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct AuditSection {
    reads_per_second: f64,
    sample: f64,
    peers: Vec<String>,
}

impl Default for AuditSection {
    fn default() -> Self {
        Self { reads_per_second: 20.0, sample: 0.001, peers: Vec::new() }
    }
}

impl AuditSection {
    pub(super) fn check(&self) -> Result<Audit, String> {
        let &Self { reads_per_second, sample, ref peers } = self;
        if !(0.0..=10_000.0).contains(&reads_per_second) {
            return Err(format!(
                "reads_per_second = {reads_per_second}: use 0 (no audit) to 10000"
            ));
        }
        if !(0.0..=1.0).contains(&sample) {
            return Err(format!("sample = {sample}: use a share from 0 to 1, such as 0.001"));
        }
        if peers.len() > PEERS_MAX {
            return Err(format!("peers: use at most {PEERS_MAX} of the other nodes"));
        }
        let mut names: Vec<String> = Vec::new();
        for peer in peers {
            let url = http_url("peers", peer)?;
            let port = url.port_u16().unwrap_or(80);
            let name = format!("{}:{port}", url.host().unwrap_or_default());
            if names.contains(&name) {
                return Err(format!("peers: {peer:?} is there twice"));
            }
            names.push(name);
        }
        Ok(Audit { reads_per_second, sample, peers: names })
    }
}
