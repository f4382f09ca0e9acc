//! Reloads of the configuration, and its state.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Reloads the configuration of this process.
#[async_trait]
pub trait ConfigReloader: Send + Sync + 'static {
    /// Reads the configuration and has it serve, as a whole. The reload goes on if the call is dropped.
    ///
    /// # Errors
    /// [`ReloadError`]: the configuration of before serves.
    async fn reload(&self) -> Result<Reloaded, ReloadError>;
}

/// A reload that has happened: every request that arrives after it is served by the new configuration.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Reloaded {
    /// The number of configurations that this process has served; 1 is that of its start.
    pub number: u64,
    /// The keys and contracts that differ from the configuration of before.
    pub changed: Vec<String>,
    /// The time from the request until the new configuration served, in ms.
    pub took_ms: u64,
}

/// Why a reload changed nothing.
#[derive(Clone, Debug, Error)]
pub enum ReloadError {
    /// The files can't be read, or `tidegate check` would report an error.
    #[error("{0}")]
    Invalid(String),
    /// These keys differ, and are read at the start only.
    #[error("{} needs a restart: the value can't change while the process runs", .0.join(", "))]
    NeedsRestart(Vec<String>),
    /// The environment lacks something that a start would need, too.
    #[error("{0}")]
    Environment(String),
    /// Too many reloads wait already.
    #[error("too many reloads wait already; try again when they have ended")]
    Busy,
    /// The process stops, or can't reload.
    #[error("{0}")]
    Unavailable(&'static str),
}

/// The state of the configuration.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ConfigurationStatus {
    /// The number of configurations that this process has served; 1 is that of its start.
    pub number: u64,
    /// The time since which the present one serves, in ms since 1970.
    pub since_ms: u64,
    /// The digest of its settings that nodes compare.
    pub fingerprint: String,
    /// Why the last reload changed nothing; null if it succeeded, or none was tried.
    pub reload_error: Option<String>,
    /// The other nodes on the shared tier whose settings differ; null while they can't be read.
    pub differing_nodes: Option<Vec<DifferingNode>>,
}

/// A node with other settings.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct DifferingNode {
    /// Its host, and the port of its admin listener.
    pub node: String,
    /// The keys and contracts that differ.
    pub keys: Vec<String>,
}
