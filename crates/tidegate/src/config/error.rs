//! Errors of a configuration file.

use std::path::{Path, PathBuf};

use thiserror::Error;

/// A configuration that can't be used. The text names the place and the remedy.
#[derive(Debug, Error)]
pub(crate) enum ConfigError {
    /// A file could not be read.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// A file is no TOML, or a key or value is invalid.
    #[error("{}: {message}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// The fault and its remedy.
        message: String,
    },
}

impl ConfigError {
    pub(super) fn content(path: &Path, message: String) -> Self {
        Self::Content { path: path.to_owned(), message }
    }
}
