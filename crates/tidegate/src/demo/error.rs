//! Errors of the demo.

use thiserror::Error;

use crate::config::ConfigError;
use crate::node::NodeError;

/// Why the demo can't start, or did not end well.
#[derive(Debug, Error)]
pub(crate) enum StageError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Node(#[from] NodeError),
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}
